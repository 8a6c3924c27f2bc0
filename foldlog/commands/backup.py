"""`foldlog backup`: everything acknowledged so far, with hard links."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from compactor.backup import Backup, backup, leftovers
from foldlog.preflight import require_data_dir
from foldlog.quantities import size
from foldlog.terminal import line
from shared.disk.layout import DataDirectory
from shared.exit_codes import DONE
from shared.log import Log
from shared.settings import Settings


def run(given: argparse.Namespace, _settings: Settings, data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    made = backup(require_data_dir(data), Path(given.destination), log)
    show(Console(), made, leftovers(made.path))
    return DONE


def show(console: Console, made: Backup, left: Sequence[Path]) -> None:
    """What a backup holds, and how to look whether it does. Lines stay whole: they are
    there to be copied.
    """
    files = f"{made.segments:,} segments and {made.parts:,} parts, {size(made.bytes)} in all"
    lines = [
        f"{made.path} holds generation {made.generation:,}: {files}, which it shares with the data directory",
        f"to check it: FOLDLOG_DATA_DIR={made.path} foldlog verify",
        *(f"{path} is what a backup left that was killed; to remove it: rm -r {path}" for path in left),
    ]
    for text in lines:
        line(console, text)
