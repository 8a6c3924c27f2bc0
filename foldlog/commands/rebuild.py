"""`foldlog rebuild`: fold the retained log again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compactor.repair.rebuild import rebuild
from compactor.repair.rebuild_days import DayChange
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.terminal import Console, plain, table
from shared.exit_codes import SUCCESS
from shared.timestamps import now_ms

_COLUMNS = ("events before", "after", "visitors before", "after", "rows that differ")


def run(call: Invocation) -> int:
    changes = rebuild(require_data_dir(call.data), call.settings, call.log, now_ms(), dry_run=call.options.dry_run)
    show(Console(), changes, dry_run=call.options.dry_run)
    return SUCCESS


def show(console: Console, compared: Sequence[DayChange], *, dry_run: bool) -> None:
    """The days that changed, as a table, then their damage and losses."""
    changed = [day for day in compared if day.changed]
    if changed:
        columns = [("day", False), *((name, True) for name in _COLUMNS)]
        rows = [
            (d.day, d.events_before, d.events_after, d.visitors_before, d.visitors_after, d.rows_changed)
            for d in changed
        ]
        table(console, columns, rows)
    for day in changed:
        for text in _remarks(day, dry_run=dry_run):
            console.print(plain(f"{day.day}: {text}"))
    verb = "would change" if dry_run else "changed"
    console.print(plain(f"{len(changed)} of {len(compared)} days {verb}"))


def _remarks(day: DayChange, *, dry_run: bool) -> Iterator[str]:
    if day.damaged:
        yield f"{day.damaged} damaged parts {'would be' if dry_run else 'were'} written again"
    if day.found:
        yield f"{day.found} events come from parts that the snapshot does not reference"
    if day.lost:
        yield f"{day.lost} of {day.events_before} events are lost: no part and no segment has them"
