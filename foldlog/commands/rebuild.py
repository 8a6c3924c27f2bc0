"""`foldlog rebuild`: the retained log is folded again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from compactor.repair.rebuild import DayChange, rebuild
from foldlog.preflight import require_data_dir
from foldlog.terminal import plain, table
from shared.disk.layout import DataDirectory
from shared.exit_codes import DONE
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import now_ms


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    changes = rebuild(require_data_dir(data), settings, log, now_ms(), dry_run=given.dry_run)
    show(Console(), changes, dry_run=given.dry_run)
    return DONE


def show(console: Console, made: Sequence[DayChange], *, dry_run: bool) -> None:
    """What a rebuild changed, day by day."""
    changed = [day for day in made if day.changed]
    if changed:
        columns = [("day", False)] + [
            (name, True) for name in ("events before", "after", "visitors before", "after", "rows that differ")
        ]
        rows = [
            (d.day, d.events_before, d.events_after, d.visitors_before, d.visitors_after, d.rows_changed)
            for d in changed
        ]
        table(console, columns, rows)
    for day in changed:
        if day.damaged:
            console.print(
                plain(f"{day.day}: {day.damaged} damaged parts {'would be' if dry_run else 'were'} made again")
            )
        if day.found:
            console.print(plain(f"{day.day}: {day.found} events come from parts that the snapshot does not name"))
        if day.gone:
            console.print(
                plain(f"{day.day}: {day.gone} of {day.events_before} events are in no part and no log: they are gone")
            )
    verb = "would change" if dry_run else "changed"
    console.print(plain(f"{len(changed)} of {len(made)} days {verb}"))
