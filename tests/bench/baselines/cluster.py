"""A PostgreSQL server of the benchmark's own: an empty cluster, reached by its Unix
socket only, gone afterwards.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

START_S = 30.0
# As durable as Foldlog: each commit waits for the disk. Checkpoints are kept out of the
# measurement, in PostgreSQL's favour.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "listen_addresses": "",
    "max_connections": "100",
    "jit": "off",
}


class Absent(Exception):
    """There is no PostgreSQL to measure; the message says why."""


def programs() -> Path:
    """The directory of `postgres` and `initdb`. Raises Absent."""
    found = [Path(which).resolve().parent] if (which := shutil.which("postgres")) else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for directory in found:
        if (directory / "initdb").exists():
            return directory
    raise Absent("PostgreSQL is not installed (Debian: apt-get install postgresql)")


@contextmanager
def cluster(directory: Path) -> Iterator[Path]:
    """Run a server with its data in `directory`/postgres. Gives the directory of its
    socket. Raises Absent.

    It refuses to run as root, so root runs it as `postgres`, or as `nobody`.
    """
    binaries = programs()
    # A socket's path has at most 107 characters, one in a checkout may have more.
    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as name:
        socket, data = Path(name), (directory / "postgres").resolve()
        data.mkdir(0o700)
        identity = _identity()
        if identity:
            directory.chmod(0o711)
            for path in (socket, data):
                os.chown(path, identity["user"], identity["group"])
        _make(binaries, data, identity)
        with (directory / "postgres.log").open("wb") as log:
            options = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
            command = [str(binaries / "postgres"), "-D", str(data), "-k", str(socket), *options]
            server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **identity)
        try:
            _wait_until_up(server, binaries, socket)
            yield socket
        finally:
            server.send_signal(signal.SIGINT)  # ends sessions and stops; SIGTERM would wait for them
            server.wait(30)


def _identity() -> dict[str, Any]:
    """Who the server runs as, for subprocess: nothing, unless this is root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise Absent("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")


def _make(binaries: Path, data: Path, identity: dict[str, Any]) -> None:
    command = [str(binaries / "initdb"), "--pgdata", str(data), "--username=bench", "--auth=trust", "--no-sync"]
    command += ["--locale=C", "--encoding=UTF8"]
    made = subprocess.run(command, cwd="/", capture_output=True, check=False, timeout=120, **identity)
    if made.returncode:
        raise Absent(f"initdb failed: {made.stderr.decode('utf-8', 'replace').strip()}")


def _wait_until_up(server: subprocess.Popen[bytes], binaries: Path, socket: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        if not subprocess.run([binaries / "pg_isready", "--quiet", "--host", socket], check=False).returncode:
            return
        time.sleep(0.05)
    raise RuntimeError("PostgreSQL did not start; its messages are in postgres.log")
