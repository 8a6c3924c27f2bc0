"""A source tree whose commands are measured: this one, or another that is laid out in
any way. Both are used by their public interface only, the command, HTTP and the files
that docs/formats.md describes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.processes import ADMIN_TOKEN, CLOCK_TICKS, START_S, STOP_S, free_port

ROOT = Path(__file__).resolve().parents[2]
Costs = dict[str, float]


class Checkout(NamedTuple):
    """A source tree, and the interpreter that runs it: its own, or this one."""

    root: Path

    @property
    def python(self) -> str:
        own = self.root / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def command(self, *words: str) -> list[str]:
        return [self.python, "-m", "foldlog", *words]

    def environ_of_defaults(self, data: Path, port: int) -> dict[str, str]:
        """With the limits of the product, and passes only when they are asked for."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FOLDLOG_")}
        return inherited | {
            "PYTHONPATH": str(self.root),
            "FOLDLOG_DATA_DIR": str(data),
            "FOLDLOG_LISTEN": f"127.0.0.1:{port}",
            "FOLDLOG_ADMIN_TOKEN": ADMIN_TOKEN,
            "FOLDLOG_FOLD_INTERVAL": "3600",
        }

    def environ(self, data: Path, port: int = 8080, /, **settings: str) -> dict[str, str]:
        return self.environ_of_defaults(data, port) | {
            **self._unlimited(),
            "FOLDLOG_LOG_RETENTION_DAYS": "36500",
            "FOLDLOG_ARCHIVE_RETENTION_DAYS": "36500",
            **settings,
        }

    def _unlimited(self) -> dict[str, str]:
        """No limit for one client; an older tree refuses the settings that it lacks."""
        known = "".join(path.read_text("utf-8") for path in self.root.glob("*/settings.py"))
        names = ("rate_limit", "rate_limit_events", "rate_limit_bytes", "rate_limit_token")
        return {f"FOLDLOG_{name.upper()}": "0" for name in names if name == "rate_limit" or f" {name}: " in known}

    def line_version(self) -> int:
        """The version of the log lines that it writes."""
        asked = "from shared.segments.line import SCHEMA_VERSION; print(SCHEMA_VERSION)"
        # In its own directory: this one would be searched before PYTHONPATH.
        done = subprocess.run([self.python, "-c", asked], cwd=self.root, capture_output=True, check=True, text=True)
        return int(done.stdout)


THIS = Checkout(ROOT)


def run(checkout: Checkout, data: Path, words: list[str], exit_code: int = 0) -> float:
    """CPU seconds of a command and of the children that it waited for. Raises
    AssertionError when it ends otherwise.
    """
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        checkout.command(*words), cwd=data.parent, env=checkout.environ(data), stdout=silent, stderr=silent
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != exit_code:
        raise AssertionError(f"{words} of {checkout.root} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


@contextmanager
def started(checkout: Checkout, data: Path, path: str, *words: str, **settings: str) -> Iterator[tuple[int, int]]:
    """(process id, port) of a service, from its first 200 to a path until SIGTERM."""
    port = free_port()
    silent = subprocess.DEVNULL
    environ = checkout.environ(data, port, **settings)
    process = subprocess.Popen(checkout.command(*words), cwd=data.parent, env=environ, stdout=silent, stderr=silent)
    try:
        deadline = time.monotonic() + START_S
        while not answers(port, path):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{words} of {checkout.root} did not start")
            time.sleep(0.02)
        yield process.pid, port
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to one that is busy for ever."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(port: int, path: str) -> bool:
    try:
        ask(port, path)
    except OSError:
        return False
    return True


def ask(port: int, path: str, within_s: float = START_S) -> bytes:
    """Raises OSError unless the answer is 200."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    with urllib.request.urlopen(asked, timeout=within_s) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(below for child in children for below in family(int(child)))]


def cpu_seconds(pids: list[int]) -> float:
    """User and system time, with that of children that have ended."""
    stats = [Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split() for pid in pids]
    return sum(int(field) for stat in stats for field in stat[11:15]) / CLOCK_TICKS


def resident_mib(pids: list[int], field: str = "VmRSS:") -> float:
    """`VmHWM:` is the most that it was."""
    texts = [Path(f"/proc/{pid}/status").read_text("ascii") for pid in pids]
    return sum(int(text.partition(field)[2].split()[0]) for text in texts) / 1024
