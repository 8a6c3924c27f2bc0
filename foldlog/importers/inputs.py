"""The files, globs and pipes that are named on the command line."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared.settings import SettingsError

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Input:
    """`name` is for messages; `size` in bytes, 0 for a pipe."""

    name: str
    path: Path | None
    size: int

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Raises OSError."""
        if self.path is None:
            yield sys.stdin.buffer
            return
        with self.path.open("rb") as file:
            yield file


def inputs(names: list[str]) -> list[Input]:
    """Raises SettingsError for a name without a file behind it."""
    return [each for name in names for each in _named(name)]


def _named(name: str) -> list[Input]:
    if name == STANDARD_INPUT:
        return [Input("standard input", None, 0)]
    path = Path(name)
    if os.path.lexists(name) or not glob.has_magic(name):
        return [_input(path)]
    found = sorted(glob.glob(name))
    if not found:
        raise SettingsError(f"there is no file {name}")
    return [_input(Path(each)) for each in found]


def _input(path: Path) -> Input:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}") from None
    if stat.S_ISDIR(found.st_mode):
        raise SettingsError(f"{path} is a directory; name its files, such as {path}/access.log*")
    return Input(str(path), path, found.st_size if stat.S_ISREG(found.st_mode) else 0)
