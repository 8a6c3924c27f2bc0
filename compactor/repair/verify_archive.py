"""Checks of `foldlog verify` on the parts: are they intact, do the counters match the
archive, and does the archive have every event of the log?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import duckdb

from compactor.fold.load import LinesDoNotParse, load_lines
from compactor.fold.recount import recount_as_published
from compactor.fold.verify_segments import VerifiedSegment, verify_segment
from compactor.generations.archive import archived_events, events_of, open_parts
from compactor.generations.counter_parts import stored_counters, sum_counters
from compactor.repair.verify_finding import RUN_REBUILD, VerifyFinding
from compactor.sql import count_rows
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import COUNTER_COLUMNS
from shared.generations.part_integrity import part_error
from shared.generations.part_presence import referenced_parts
from shared.generations.snapshot import Day, Snapshot
from shared.settings import Settings
from shared.sql.archive_events import id_number_sql

# The size of one segment with the default settings, so that memory that suffices for a
# fold suffices here.
BATCH_MAX_BYTES = 64 << 20
_RESTORE_PART = (
    f"restore it from a backup, or {RUN_REBUILD}: it writes the part again from the log, and reports what is lost"
)


def check_parts(data: DataDirectory, snapshot: Snapshot) -> Iterator[VerifyFinding]:
    """Every referenced part matches its sha256."""
    for each in referenced_parts(snapshot):
        path = each.path(data)
        if error := part_error(path, each.part):
            yield VerifyFinding(str(path.relative_to(data.root)), str(error), _RESTORE_PART)


def check_counters(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, settings: Settings
) -> Iterator[VerifyFinding]:
    """The counters of each day equal a recount of its archive, no event is archived
    twice, and the sum of all days is the total.
    """
    counted = sum(snapshot.dropped_days.values())
    for day, kept in snapshot.days.items():
        counted += sum(part.rows for part in kept.archive)
        if kept.expired or not kept.counters:
            continue
        events = archived_events(data, snapshot, [day])
        differing = _differing_rows(database, data, day, kept, events)
        if differing:
            problem = f"{differing} rows differ from a recount of the archive"
            yield VerifyFinding(f"counters/{day}", problem, RUN_REBUILD)
        if repeated := _count_repeated(database, events):
            yield VerifyFinding(f"archive/{day}", f"{repeated} events are counted twice", RUN_REBUILD)
    has_expired = any(kept.expired for kept in snapshot.days.values())
    if not has_expired and counted != snapshot.totals.counted:
        problem = f"{snapshot.totals.counted} events were counted, the archive has {counted}"
        yield VerifyFinding(data.snapshot.name, problem, RUN_REBUILD)


def _count_repeated(database: duckdb.DuckDBPyConnection, events: str) -> int:
    """How many ids several of the events have, of one sender and site."""
    number = id_number_sql("site", "id")
    if not count_rows(database, f"(SELECT 1 FROM {events} GROUP BY {number}, sender HAVING count(*) > 1)"):
        return 0
    # Two ids may share a number. Texts tell, and take more memory.
    return count_rows(database, f"(SELECT 1 FROM {events} GROUP BY {number}, site, id, sender HAVING count(*) > 1)")


def _differing_rows(database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, kept: Day, events: str) -> int:
    """Keys of the published counters whose sum differs from a recount of the events.
    Visitors, which are counted at expiry, are not compared.
    """
    published = f"(FROM {stored_counters(open_parts(data, 'counters', day, kept.counters))} WHERE visitors IS NULL)"
    recount_as_published(database, day, kept, events, published)
    columns = ", ".join(f"-{name} AS {name}" if name == "events" else name for name in COUNTER_COLUMNS)
    both = f"(FROM {published} UNION ALL SELECT {columns} FROM new_counters)"
    sum_counters(database, both, kept.uncounted)
    return count_rows(database, "merged_counters")


def check_log(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    verified: Sequence[VerifiedSegment],
    settings: Settings,
) -> Iterator[VerifyFinding]:
    """Every retained line of a folded segment is archived, or yielded to another host,
    unless its day has expired.

    Segments are compared in batches, because each comparison reads the ids of the whole
    archive, and one by one only where a batch has a finding.
    """
    folded = [each for each in verified if each.lines and snapshot.has_folded(each.segment.name)]
    for batch in _batches(folded):
        try:
            one_by_one = _count_unarchived(database, data, snapshot, batch, settings) > 0
        except duckdb.OutOfMemoryException:
            one_by_one = True
        for each in batch if one_by_one else ():
            if events := _count_unarchived(database, data, snapshot, [each], settings):
                problem = f"{events} of its events are not in the archive"
                yield VerifyFinding(f"log/{each.segment.path.name}", problem, RUN_REBUILD)


def _count_unarchived(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    segments: Sequence[VerifiedSegment],
    settings: Settings,
) -> int:
    """How many events of the segments no archive or yielded part has. Days without an
    archive are left out.
    """
    try:
        load_lines(database, segments, settings.sites)
    except LinesDoNotParse:
        again = [verify_segment(data, each.segment, data.spill, each_line=True) for each in segments]
        load_lines(database, again, settings.sites)
    expired = [day for day, kept in snapshot.days.items() if kept.expired]
    values: dict[str, object] = {"expired": [*expired, *snapshot.dropped_days]}
    lines = "SELECT DISTINCT id_number, site, id FROM incoming WHERE NOT list_contains($expired::DATE[], time::DATE)"
    number = id_number_sql("a.site", "a.id")
    same = f"{number} = i.id_number AND a.site = i.site AND a.id = i.id"
    parts = ("archive", "yielded")
    archived = events_of(
        [
            each
            for day, kept in snapshot.days.items()
            for kind in parts
            for each in open_parts(data, kind, day, getattr(kept, kind))
        ]
    )
    return count_rows(database, f"({lines}) i ANTI JOIN {archived} a ON {same}", values)


def _batches(verified: Sequence[VerifiedSegment]) -> Iterator[list[VerifiedSegment]]:
    """Segments to load together, up to BATCH_MAX_BYTES but at least one."""
    batch: list[VerifiedSegment] = []
    size = 0
    for each in verified:
        if batch and size + each.segment.plain_bytes > BATCH_MAX_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each.segment.plain_bytes
    if batch:
        yield batch
