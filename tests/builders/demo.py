"""A real `foldlog demo` for tests, with its throw-away directory below one of the
test's.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from shared.disk.layout import DataDirectory
from tests.builders.server import HttpClient
from tests.builders.waiting import TIMEOUT_S, until


class Demo(HttpClient):
    """One demo in a session of its own, with a terminal to type on. `directory` is its
    TMPDIR, or what --keep names.
    """

    def __init__(self, directory: Path, *options: str, **environ: str) -> None:
        self.directory = directory
        self._output = directory.parent / f"{directory.name}.out"
        self.port = free_port()
        self.terminal, stdin = pty.openpty()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FOLDLOG_")}
        directory.mkdir(exist_ok=True)
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "foldlog", "demo", "--port", str(self.port), *options],
                env=inherited | {"TMPDIR": str(directory)} | environ,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        os.close(stdin)

    def __enter__(self) -> Demo:
        try:
            until(lambda: "Ready after" in self.said() or self.process.poll() is not None, self.said)
            assert self.process.poll() is None, self.said()
        except BaseException:
            self.kill()
            raise
        (root,) = [*self.directory.glob("foldlog-demo-*")] or [self.directory]
        self.root, self.data = root, DataDirectory(root / "data")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        os.close(self.terminal)

    def said(self) -> str:
        return self._output.read_text("utf-8")

    def links(self) -> list[str]:
        """The sign-in links that it printed."""
        return re.findall(r"http://\S+#code=\S+", self.said())

    def stop(self, number: signal.Signals) -> int:
        """Send a signal as a terminal does it, to all of them, and wait for the end."""
        os.killpg(self.process.pid, number)
        return self.process.wait(TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL to the demo alone."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def processes_of(path: Path) -> list[str]:
    """The commands that name something below a directory."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(each.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return [command for command in found if f"{path}/" in command]


def gone(path: Path) -> bool:
    """Whether nothing is below a directory, and no process of it runs; and stays so."""
    if any(path.iterdir()) or processes_of(path):
        return False
    time.sleep(0.3)
    return not any(path.iterdir())
