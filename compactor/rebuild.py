"""`foldlog rebuild`: fold the retained log again with today's rules, and publish what comes out.

The log is folded from nothing into a scratch directory by the ordinary pass. Then each day is written again: events that the
retained log still holds as they are folded now, older ones as they were archived. Only the commit changes what readers see.

This is also what makes a damaged part whole again: nothing of it is believed, so its events come from the log or are gone.
And it begins anew where no snapshot is whole, with the parts that can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec

from compactor.adopt import adopt, adopted_totals
from compactor.commit import commit, compactor_lock, drop_old_snapshots, is_lost, replace_damaged, set_aside
from compactor.compaction import THREADS, Log, run_pass, whole_snapshot
from compactor.expiry import doubted_since
from compactor.fold import archive_paths
from compactor.parts import sql_list, write_whole_day
from compactor.plan import neighbours
from compactor.verify import count, parts_of
from shared.engine import connect
from shared.layout import DataDirectory
from shared.parts import ARCHIVE_COLUMNS, archived, no_rows, part_flaw
from shared.publish import make_data_directory, scratch
from shared.segments import sealed_segments
from shared.settings import Settings
from shared.snapshot import Day, Part, Snapshot, load
from shared.timestamps import rfc3339

LOCK_PATIENCE_S = 60.0
_COLUMNS = ", ".join(ARCHIVE_COLUMNS)


class DayChange(NamedTuple):
    """One day before and after: events, and distinct visitors.

    `damaged` are its parts that were not whole; `gone` the events that only those held. `visitors_before` are those of the
    whole parts.
    """

    day: date
    events_before: int
    events_after: int
    visitors_before: int
    visitors_after: int
    rows_changed: int
    damaged: int = 0
    gone: int = 0

    @property
    def changed(self) -> bool:
        return self.rows_changed > 0 or self.events_before != self.events_after or self.damaged > 0


class DamagedPart(NamedTuple):
    """A part that a snapshot names and that is not what it names."""

    kind: str
    day: date
    part: Part
    flaw: str


def rebuild(data: DataDirectory, settings: Settings, log: Log, now_ms: int, *, dry_run: bool) -> list[DayChange]:
    """Fold the retained log again. Returns every day that it speaks of. Raises CompactorBusy and CommitLost."""
    with (
        compactor_lock(data, LOCK_PATIENCE_S) as lock,
        scratch(data) as spill,
        closing(connect(settings.fold_memory, THREADS, spill)) as database,
    ):
        is_adopted = is_lost(data)
        if is_adopted:
            log.warning("snapshot_lost", reason="no snapshot is whole; the parts that can be read are believed")
            before = adopt(database, data, settings, log, now_ms, dry_run=dry_run)
        else:
            before = load(data) if dry_run else whole_snapshot(data, log, lock)
        damaged = damaged_parts(data, before, log)
        whole = without(before, damaged)
        refolded_data = DataDirectory(spill / "refolded")
        refolded = _refold(data, refolded_data, before, settings, log, now_ms)
        changes = []
        days = dict(before.days)
        broken = {each.day for each in damaged}
        to_write = before.days if is_adopted else neighbours(refolded.days) & before.days.keys()
        for day in sorted({*refolded.days, *to_write, *broken}):
            old = before.days.get(day, Day(rfc3339(now_ms)))
            if old.expired or day in before.forgotten:
                continue  # what its archive held is gone: the retained log is not all of that day
            _make_rebuilt(database, data, whole, refolded_data, refolded, day, is_adopted=is_adopted)
            changes.append(_compare(database, data, whole, day, old, damaged))
            if not dry_run:
                days[day] = write_whole_day(database, data, day, old, "rebuilt", before.generation + 1, settings.max_values)
        if not dry_run:
            for each in damaged:
                set_aside(data, _path(data, each), f"{each.kind}-{each.day}-{_path(data, each).name}")
            after = _next(before, days, sum(change.gone for change in changes), now_ms)
            if is_adopted:
                after = msgspec.structs.replace(after, totals=adopted_totals(database, data, days, refolded.totals))
            (replace_damaged(data, after, lock) if is_adopted else commit(data, before, after, lock))
            drop_old_snapshots(data, after)
        return changes


def damaged_parts(data: DataDirectory, snapshot: Snapshot, log: Log) -> list[DamagedPart]:
    """Read every part. Each that is damaged is a warning, with what becomes of it."""
    found = []
    for kind, day, part in parts_of(snapshot):
        if flaw := part_flaw(data.part(kind, day, part.generation), part):
            found.append(DamagedPart(kind, day, part, flaw))
            expired = snapshot.days[day].expired
            todo = "restore it from a backup: nothing else holds what it held" if expired else "it is made again"
            log.warning("part_damaged", part=str(data.part(kind, day, part.generation)), reason=flaw, todo=todo)
    return found


def without(snapshot: Snapshot, damaged: Iterable[DamagedPart]) -> Snapshot:
    """The snapshot with whole archive parts only."""
    broken = {(each.day, each.part) for each in damaged if each.kind == "archive"}
    days = {
        day: msgspec.structs.replace(kept, archive=tuple(part for part in kept.archive if (day, part) not in broken))
        for day, kept in snapshot.days.items()
    }
    return msgspec.structs.replace(snapshot, days=days)


def _path(data: DataDirectory, each: DamagedPart) -> Path:
    return data.part(each.kind, each.day, each.part.generation)


def _refold(data: DataDirectory, into: DataDirectory, before: Snapshot, settings: Settings, log: Log, now_ms: int) -> Snapshot:
    """Fold all segments that the published snapshot has folded, by ordinary passes, into another directory."""
    make_data_directory(into)
    for segment in sealed_segments(data):
        if before.has_folded(segment.name.writer, segment.name.sequence):
            (into.log / segment.path.name).symlink_to(segment.path.absolute())
            if segment.checksum.exists():
                (into.log / segment.checksum.name).symlink_to(segment.checksum.absolute())
    for_ever = replace(settings, log_retention_days=36_500, archive_retention_days=36_500, counters_retention_days=0)
    for_ever = replace(for_ever, log_max_bytes=0, archive_max_bytes=0, counters_max_bytes=0)
    with compactor_lock(into) as lock:
        while True:
            done = run_pass(into, for_ever, _Quiet(log), lock, now_ms)
            if not done.more:
                return done.snapshot


class _Quiet:
    """The passes of a refold are not the service's passes: only their warnings are worth a line."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def info(self, event: str, **fields: object) -> None:
        """Nothing."""

    def warning(self, event: str, **fields: object) -> None:
        self._log.warning(event, **fields)


def _make_rebuilt(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    before: Snapshot,
    refolded_data: DataDirectory,
    refolded: Snapshot,
    day: date,
    *,
    is_adopted: bool,
) -> None:
    """Make the table `rebuilt`: a day's events as folded now, and the archived ones that the retained log does not hold.

    Of an event both in the log and in the archive the copy received first counts, as in any fold; the refolded one if equal.
    """
    near = sorted(neighbours([day]))
    # Adopted parts repeat events: the copy received first stays, of the newest part that has it.
    first = "(e.received, e.time, o.filename) < (o.received, o.time, e.filename)"
    is_repeat = f"FROM {_events(data, before, near)} e WHERE e.site = o.site AND e.id = o.id AND {first}"
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE rebuilt AS
        SELECT {_COLUMNS} FROM {_events(refolded_data, refolded, [day])} r WHERE NOT EXISTS (
            FROM {_events(data, before, near)} b WHERE b.site = r.site AND b.id = r.id AND b.received < r.received)
        UNION ALL
        SELECT {_COLUMNS} FROM {_events(data, before, [day])} o WHERE NOT EXISTS (
            FROM {_events(refolded_data, refolded, near)} n WHERE n.site = o.site AND n.id = o.id AND n.received <= o.received)
        {f"AND NOT EXISTS ({is_repeat})" if is_adopted else ""}
        """
    )


def _events(data: DataDirectory, snapshot: Snapshot, days: list[date]) -> str:
    """SQL of the archived events of these days."""
    paths = archive_paths(data, snapshot, days)
    return (
        archived(f"read_parquet({sql_list(paths)})", "filename")
        if paths
        else no_rows({**ARCHIVE_COLUMNS, "filename": "VARCHAR"})
    )


def _compare(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    whole: Snapshot,
    day: date,
    before: Day,
    damaged: Iterable[DamagedPart],
) -> DayChange:
    old = _events(data, whole, [day])
    visitors = "SELECT DISTINCT visitor FROM {} WHERE visitor IS NOT NULL"
    broken = [each for each in damaged if each.day == day]
    events_before, events_after = sum(part.rows for part in before.archive), count(database, "FROM rebuilt")
    lost_archive = any(each.kind == "archive" for each in broken)
    return DayChange(
        day,
        events_before,
        events_after,
        count(database, visitors.format(old)),
        count(database, visitors.format("rebuilt")),
        count(database, f"SELECT {_COLUMNS} FROM rebuilt EXCEPT SELECT {_COLUMNS} FROM {old}"),
        len(broken),
        max(0, events_before - events_after) if lost_archive else 0,
    )


def _next(before: Snapshot, days: dict[date, Day], gone: int, now_ms: int) -> Snapshot:
    """The next generation: the ledger is the same, and what is counted more or less is balanced by the duplicates.

    Events that are gone with a damaged part are in quarantine, with that part.
    """
    rows_before = sum(part.rows for kept in before.days.values() for part in kept.archive)
    rows_after = sum(part.rows for kept in days.values() for part in kept.archive)
    gained = rows_after - rows_before + gone
    old = before.totals
    # Lines counted in addition were duplicates before, or in quarantine: the sum of all stays (P8).
    from_quarantine = max(0, gained - old.duplicates)
    totals = msgspec.structs.replace(
        old,
        counted=old.counted + gained - gone,
        duplicates=old.duplicates - gained + from_quarantine,
        quarantined=old.quarantined - from_quarantine + gone,
    )
    # The time of a rebuild takes the place of that of the last pass: a jump of the clock must not be hidden by it (P9).
    retention = msgspec.structs.replace(before.retention, doubted_since=doubted_since(before, now_ms))
    return msgspec.structs.replace(
        before, generation=before.generation + 1, as_of=rfc3339(now_ms), days=days, totals=totals, retention=retention
    )
