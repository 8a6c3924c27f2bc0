"""Where a demo keeps its files: a throw-away directory of this user alone, or the one
that --keep names.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from foldlog.demo.journeys import HOSTS
from foldlog.demo.sweeper import PREFIX
from shared.disk.durable import PRIVATE_DIRECTORY_MODE
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure, UsageError
from shared.settings import PREFIX as SETTING
from shared.settings import Settings, format_address, load

ROOM_MIN_BYTES = 400 << 20
RESERVE_BYTES = 64 << 20
# The trickle comes from there, and says addresses and countries of its visitors. The
# operator's browser comes from 127.0.0.1, and is not believed.
TRICKLE_ADDRESS = "127.0.0.2"
COUNTRY_HEADER = "Demo-Country"
# Beside these, the shop may be opened under the names that every machine has.
SITES = (*HOSTS.values(), "localhost", "127.0.0.1")
_INHERITED = ("DATABASE_URL", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID")


class NotEmpty(UsageError):
    """The directory of --keep has files."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is not an empty directory; name a new one with --keep"


class TooLittleRoom(TemporaryFailure):
    """The disk of the directory is nearly full."""

    def __init__(self, path: Path, free: int) -> None:
        super().__init__(path, free)
        self.path, self.free = path, free

    def __str__(self) -> str:
        return (
            f"{self.path} has {self.free >> 20} MiB free, and the demo wants {ROOM_MIN_BYTES >> 20}; "
            "name another place with TMPDIR or --keep"
        )


@dataclass(frozen=True)
class Place:
    """The directory of a demo."""

    root: Path
    is_kept: bool

    @property
    def config(self) -> Path:
        return self.root / "foldlog.toml"

    @property
    def made(self) -> Path:
        """What the generator made, for those who want to count it again."""
        return self.root / "made.json"

    @property
    def log(self) -> Path:
        """What the processes write for operators, and to standard error."""
        return self.root / "foldlog.log"

    @property
    def data(self) -> DataDirectory:
        return DataDirectory(self.root / "data")

    def configure(self, address: tuple[str, int]) -> Settings:
        """Write the settings of all processes of the demo, and read them."""
        values = {
            "data_dir": str(self.data.root),
            "listen": format_address(*address),
            "sites": ",".join(SITES),
            "demo": "true",
            "consent": "required",
            "trusted_proxies": TRICKLE_ADDRESS,
            "country_header": COUNTRY_HEADER,
            "fold_interval": "10",
            "disk_reserve": str(RESERVE_BYTES),
            "log_file": str(self.log),
        }
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items()]
        self.config.write_text("".join(lines), "utf-8")
        return load({}, self.config)


@contextmanager
def demo_place(keep: Path | None) -> Iterator[Place]:
    """Raises NotEmpty and TooLittleRoom. What is not kept is gone when the block is
    left, and soon after this process was killed.
    """
    if keep is not None:
        yield Place(_new_directory(keep), is_kept=True)
        return
    root = Path(tempfile.mkdtemp(prefix=PREFIX))  # only this user may open it
    sweeper = _start_sweeper(root)
    try:
        _require_room(root)
        yield Place(root, is_kept=False)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C leaves nothing half removed
        sweeper.communicate()


def _new_directory(path: Path) -> Path:
    path.mkdir(PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise NotEmpty(path)
    path.chmod(PRIVATE_DIRECTORY_MODE)
    _require_room(path)
    return path.resolve()


def _require_room(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < ROOM_MIN_BYTES:
        raise TooLittleRoom(path, free)


def _start_sweeper(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "foldlog.demo.sweeper", str(root)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def forget_settings(environ: MutableMapping[str, str]) -> None:
    """Take this user's settings out of the environment: a demo must reach neither his
    data nor his store.
    """
    for name in [*environ]:
        if name.startswith(SETTING) or name in _INHERITED:
            del environ[name]
