"""A private PostgreSQL server: a cluster of its own, reached by its Unix socket only,
that can be stopped, killed, copied and started again.

Neither the server nor its folders outlive the tests, even if those are killed. Which
programs there are is in postgres_kinds.py.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg

from tests.builders.guard import guarded
from tests.builders.postgres_kinds import Absent, give, identity_of_server, reachable
from tests.builders.processes import children
from tests.builders.waiting import TIMEOUT_S, until

USER = "foldlog"
SETTINGS = {
    "listen_addresses": "",
    "dynamic_shared_memory_type": "mmap",  # in the cluster: what is in /dev/shm outlives a killed server
    "jit": "off",
    "max_connections": "100",
}
# As in production: each commit waits for the disk.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
# A commit outlives a killed server, not a power cut.
QUICK = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off", "autovacuum": "off"}
# It has to be told to copy files instead of logging each page.
_FIRST_THAT_LOGS_COPIES = 150_000
_IPC_RMID = 0


class Server:
    """A server and its data. What says "stopped" also holds after kill()."""

    def __init__(
        self,
        command: list[str],
        home: Path,
        identity: dict[str, Any],
        url: str,
        tell_guard: Callable[[int | None], None],
    ) -> None:
        self.url = url
        self._command = command
        self._data = home / "data"
        self._log = home / "postgres.log"
        self._identity = identity
        self._tell_guard = tell_guard
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = self._dropped = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._running.pid

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "this PostgreSQL is stopped"
        return self._process

    def start(self) -> None:
        """Returns when it takes connections. Raises RuntimeError with its messages when
        it does not.
        """
        assert self._process is None, "this PostgreSQL runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt of the tests is not the server's
                **self._identity,
            )
        self._tell_guard(self.pid)
        until(lambda: self._running.poll() is not None or self._is_ready(), self.messages)
        if self._running.poll() is not None:
            self._ended()
            raise RuntimeError(f"PostgreSQL did not start:\n{self.messages()}")

    def database(self, options: str = "") -> str:
        """The address of a new, empty database, made with these options (SQL). A server
        that a test has left stopped is started.
        """
        if not self.is_running:
            self.start()
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            copying = "STRATEGY file_copy" if connection.info.server_version >= _FIRST_THAT_LOGS_COPIES else ""
            connection.execute(f"CREATE DATABASE {name} {copying} {options}".encode())
        return self.url.replace("/postgres?", f"/{name}?")

    def copy_of(self, address: str) -> str:
        """The address of a new database with what one of its own has, to which nobody
        is connected.
        """
        return self.database(f"TEMPLATE {urlsplit(address).path[1:]}")

    def drop_databases(self) -> None:
        """All that it has made, whoever is connected: each is 300 files."""
        if not self.is_running:
            self.start()
        with psycopg.connect(self.url, autocommit=True) as connection:
            for number in range(self._dropped, self._databases):
                connection.execute(f"DROP DATABASE IF EXISTS test_{number + 1} WITH (FORCE)".encode())
        self._dropped = self._databases

    def stop(self) -> None:
        """End the sessions, write everything down, exit."""
        self.end(signal.SIGINT)

    def end(self, how: signal.Signals) -> None:
        """End it by a signal that it understands; by kill() if it does not."""
        self._running.send_signal(how)
        try:
            self._running.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._ended()

    def kill(self) -> None:
        """SIGKILL the postmaster and its children: none writes another byte."""
        self._running.send_signal(signal.SIGSTOP)  # it starts no child, and forgets none
        with suppress(ChildProcessError):  # it has ended already
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        killed = [os.pidfd_open(child) for child in children(self.pid)]
        for descriptor in killed:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        self._running.kill()
        self._running.wait(TIMEOUT_S)
        for descriptor in killed:
            select.select([descriptor], [], [], TIMEOUT_S)
            os.close(descriptor)
        self._ended()

    def backup(self, to: Path) -> None:
        """Copy the data of a stopped server."""
        assert self._process is None, "stop this PostgreSQL before copying its data"
        _copy(self._data, to)

    def restore(self, backup: Path) -> None:
        """Put a copy in place of the data of a stopped server."""
        assert self._process is None, "stop this PostgreSQL before replacing its data"
        shutil.rmtree(self._data)
        _copy(backup, self._data)

    def messages(self) -> str:
        """What it has said last."""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-20:])

    def _is_ready(self) -> bool:
        """As pg_ctl sees it: the last line of its own postmaster.pid says so."""
        lines = self._pid_file()
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _ended(self) -> None:
        """Remove the shared memory that a server leaves behind if it did not end by
        itself.
        """
        pid, self._process = self.pid, None
        self._tell_guard(None)
        lines = self._pid_file()  # of a server before, if this one has not come so far
        if len(lines) > 6 and lines[0] == str(pid) and lines[6].strip():
            ctypes.CDLL(None).shmctl(int(lines[6].split()[1]), _IPC_RMID, None)


@contextmanager
def running(
    programs: Path,
    *,
    within: Path | None = None,
    copy_of: Path | None = None,
    quick: bool = False,
    settings: Mapping[str, str] = MappingProxyType({}),
    before: Sequence[str] = (),
) -> Iterator[Server]:
    """A server of these programs, with its data in a folder of its own `within` this
    one; on a copy of a backup, or empty. Raises Absent where it cannot be.

    `before`: a command that runs the one after it in its place, such as `env`.

    It refuses to run as root, so root runs it as `postgres`, or as `nobody`.
    """
    identity = identity_of_server()
    home = Path(tempfile.mkdtemp(prefix="postgres-", dir=within)).resolve()
    # A socket's path has at most 107 characters, one in a checkout may have more.
    socket = Path(tempfile.mkdtemp(prefix="postgres-socket-"))
    with guarded(home, socket) as tell_guard:
        give([home, socket], identity)
        if within and identity:
            within.chmod(0o711)  # or it would not get there
        programs = reachable(programs, home, identity)
        if copy_of:
            _copy(copy_of, home / "data")
        else:
            _make(programs, home / "data", identity)
        chosen = SETTINGS | (QUICK if quick else DURABLE) | dict(settings)
        options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        command = [*before, str(programs / "postgres"), "-D", str(home / "data"), "-k", str(socket), *options]
        url = f"postgresql://{USER}@/postgres?host={quote(str(socket), safe='')}"
        server = Server(command, home, identity, url, tell_guard)
        server.start()
        try:
            yield server
        finally:
            if server.is_running:
                server.end(signal.SIGQUIT)  # at once: its data goes, too


def _make(programs: Path, data: Path, identity: dict[str, Any]) -> None:
    command = [str(programs / "initdb"), "--pgdata", str(data), f"--username={USER}", "--auth=trust", "--no-sync"]
    command += ["--locale=C", "--encoding=UTF8"]
    made = subprocess.run(command, cwd="/", capture_output=True, check=False, timeout=120, **identity)
    if made.returncode:
        raise Absent(f"initdb failed: {made.stderr.decode('utf-8', 'replace').strip()}")


def _copy(data: Path, to: Path) -> None:
    """With owners and modes, on which PostgreSQL insists."""
    subprocess.run(["cp", "--archive", "--no-target-directory", data, to], check=True)  # noqa: S607
