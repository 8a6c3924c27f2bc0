"""The processes of a running server, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from tests.builders.server import Server


def family(server: Server) -> dict[str, int]:
    """The process ids of `serve` and, by their names, of its children."""
    pid = server.running.pid
    found = {"serve": pid}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        found["compact" if "compact" in words else f"ingest-{words[words.index('--writer') + 1]}"] = int(child)
    return found


def opened(pid: int) -> set[Path]:
    """Which message files a process has open."""
    links = [Path(os.readlink(each)) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
    return {link for link in links if link.name.startswith("foldlog.log")}


def children(pid: int) -> list[int]:
    """Of all threads: the kernel lists a child with the thread that started it."""
    return [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in _read(task).split()]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
        return ""
