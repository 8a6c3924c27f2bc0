"""A private Redis, reached by its Unix socket only, that can be stopped, killed and
started again. Nothing of it is on disk, and it does not outlive the tests.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.builders.guard import guarded
from tests.builders.programs import program
from tests.builders.waiting import TIMEOUT_S, until


class RedisServer:
    """A server without persistence: what it held is gone when it ends."""

    def __init__(self, command: list[str], home: Path, tell_guard: Callable[[int | None], None]) -> None:
        self.socket = home / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._command, self._home, self._tell_guard = command, home, tell_guard
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        assert self._process is None, "this Redis runs already"
        with (self._home / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt of the tests is not the server's
                **_identity(),
            )
        self._tell_guard(self._process.pid)
        until(self._is_ready, (self._home / "redis.log").read_text)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(TIMEOUT_S)
        self._process = None
        self._tell_guard(None)

    def stand_still(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> Redis:
        return Redis.from_url(self.url)

    def dump(self) -> bytes:
        """All names and values that it holds."""
        with self.client() as client:
            names = sorted(client.keys("*"))
            return b"\n".join(part for name in names for part in (name, client.get(name) or b""))

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def _is_ready(self) -> bool:
        with suppress(RedisError, OSError), self.client() as client:
            return bool(client.ping())
        return False


@contextmanager
def running() -> Iterator[RedisServer]:
    """A Redis of its own. Skips the test without the program, or fails it in CI."""
    # Debian's package: apt-get install redis-server
    found = program("redis-server")
    home = Path(tempfile.mkdtemp(prefix="redis-"))  # the path of a socket has at most 107 characters
    with guarded(home) as tell_guard:
        if identity := _identity():
            shutil.chown(home, identity["user"], identity["group"])
        home.chmod(0o711)
        options = ["--port", "0", "--unixsocket", str(home / "redis.sock"), "--unixsocketperm", "777"]
        server = RedisServer([found, *options, "--save", "", "--appendonly", "no"], home, tell_guard)
        server.start()
        try:
            yield server
        finally:
            if server.is_running:
                server.kill()


def _identity() -> dict[str, Any]:
    """Who it runs as, for subprocess: not root."""
    if os.geteuid():
        return {}
    for name in ("redis", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return {}
