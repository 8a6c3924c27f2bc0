"""`foldlog backup`: back up everything acknowledged so far, with hard links."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compactor.backup import Backup, backup, leftover_backups
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.quantities import size
from foldlog.terminal import Console, line
from shared.exit_codes import SUCCESS


def run(call: Invocation) -> int:
    made = backup(require_data_dir(call.data), Path(call.options.destination), call.log)
    show(Console(), made, leftover_backups(made.path))
    return SUCCESS


def show(console: Console, made: Backup, leftovers: Sequence[Path]) -> None:
    """What the backup contains, and the command that checks it. Lines are not wrapped,
    so that the commands can be copied.
    """
    files = f"{made.segments:,} segments and {made.parts:,} parts, {size(made.bytes)} in all"
    line(console, f"{made.path} holds generation {made.generation:,}: {files}, shared with the data directory")
    line(console, f"to check it: FOLDLOG_DATA_DIR={made.path} foldlog verify")
    for path in leftovers:
        line(console, f"{path} is left from a backup that was killed; to remove it: rm -r {path}")
