"""How often the fold of a segment has failed, in `run/tries.json`: three tries are
counted across restarts.

The file is not synced. One that is lost gives a segment three more tries.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import msgspec

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory
from shared.disk.layout import TEMP_SUFFIX, DataDirectory

TRIES_MAX = 3


class Failing(msgspec.Struct, frozen=True):
    """What of a segment fails: the lines that begin within `size` bytes from `start`
    (None: all from there on), all of them or those of some UTC days. `killed`: the last
    try ended with the process.
    """

    start: int
    size: int | None
    days: tuple[date, ...] = ()
    tries: int = 0
    reason: str = ""
    killed: bool = False


_DECODER = msgspec.json.Decoder(dict[str, Failing])


def read_tries(data: DataDirectory) -> dict[str, Failing]:
    """By the names of segments without a suffix. A damaged file counts as none."""
    try:
        return _DECODER.decode(data.tries.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def write_tries(data: DataDirectory, failing: dict[str, Failing]) -> None:
    """Replace the file; without anything that fails there is none."""
    if not failing:
        data.tries.unlink(missing_ok=True)
        return
    write_note(data, data.tries, msgspec.json.encode(failing))


def write_note(data: DataDirectory, path: Path, content: bytes) -> None:
    """Replace a file in `run/`, without a sync."""
    make_directory(data.run, PRIVATE_DIRECTORY_MODE)
    beside = path.with_name(f".{path.name}{TEMP_SUFFIX}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_MODE)
    with open(descriptor, "wb") as file:
        file.write(content)
    beside.rename(path)
