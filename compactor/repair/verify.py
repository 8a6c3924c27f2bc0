"""`foldlog verify`: count everything again from the retained log and the archive, and
compare it with what is published.

It believes nothing that a pass has written down. Each finding names the file, what is
wrong, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import duckdb

from compactor.context import THREADS
from compactor.fold.counters import add_day_sums, build_day_counters, cap_values, counting_sql
from compactor.fold.load import LinesDoNotParse, load_lines
from compactor.fold.verify_segments import VerifiedSegment, verify_segment
from compactor.generations.archive import archive_paths
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.repair.directory_check import later_parts
from compactor.sql import sql_list
from shared.disk.durable import scratch
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect, one_number
from shared.erasures import pending_requests, progress_of
from shared.generations.load import LoadedSnapshot, SnapshotLost, find_snapshot, kept_generations
from shared.generations.part_integrity import part_error
from shared.generations.part_presence import referenced_parts
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot
from shared.segments.line import iter_lines, scan_lines
from shared.segments.sealed import Segment, active_segments, open_segment, recorded_sha256, sealed_segments
from shared.settings import Settings
from shared.sql.archive_events import from_archive_sql

# As large as one segment is with the default settings: what a fold of one fits into,
# this does.
BATCH_MAX_BYTES = 64 << 20
SHOWN_LINES = 20
SAME_SHA256 = (
    "; if there is none and nothing is missing, write its .sha256 anew with `sha256sum` (of the uncompressed lines)"
)
REBUILD = "run `foldlog rebuild`: it counts what all parts and the log hold"
RESTORE_PART = (
    "restore it from a backup, or run `foldlog rebuild`: it makes the part again of the log, and says what is gone"
)


class Finding(NamedTuple):
    """Something that is not as it was promised."""

    where: str
    what: str
    do: str


class Verified(NamedTuple):
    """What was looked at and what was found. Nothing found means that every check
    held.
    """

    segments: int
    lines: int
    parts: int
    events: int
    findings: list[Finding]


def verify(data: DataDirectory, settings: Settings, progress: Callable[[str], None]) -> Verified:
    """Check sha256, CRC, ledger, counters and the balance of P8. Raises CompactorBusy
    when a pass does not end.
    """
    with (
        compactor_lock(data, LOCK_TIMEOUT_S),
        scratch(data) as spill,
        closing(connect(settings.fold_memory, THREADS, spill)) as database,
    ):
        segments = sealed_segments(data)
        findings, snapshot = check_snapshots(data)
        if snapshot.generation:
            findings += [*check_ledger(snapshot, segments), *check_totals(data, snapshot)]
            if not any(each.where == data.snapshot.name for each in findings):
                findings += check_later(data, snapshot)
        progress("segments")
        checked = [verify_segment(data, segment, spill) for segment in segments]
        findings += check_segments(checked)
        findings += check_active(data)
        progress("parts")
        broken = list(check_parts(data, snapshot))
        findings += broken
        half_erased = list(check_erasures(data))
        findings += half_erased
        if not broken:  # what cannot be read cannot be counted
            progress("counters")
            findings += check_counters(database, data, snapshot, settings)
            progress("log against archive")
            findings += [] if half_erased else check_log(database, data, snapshot, checked, settings)
        lines = sum(each.lines for each in checked)
        parts = sum(len(kept.archive) + (kept.counters is not None) for kept in snapshot.days.values())
        return Verified(len(segments), lines, parts, snapshot.totals.counted, findings)


def check_snapshots(data: DataDirectory) -> tuple[list[Finding], Snapshot]:
    """The published snapshot and the kept ones are whole. Returns the one to go by:
    generation 0 when there is none.
    """
    name = data.snapshot.name
    try:
        found = find_snapshot(data)
    except SnapshotLost as error:
        found = LoadedSnapshot(Snapshot(), b"", error)
        finding = Finding(name, str(error), "restore it from a backup, or run `foldlog rebuild`")
    else:
        finding = Finding(
            name,
            f"{found.damage}; generation {found.snapshot.generation} takes its place",
            "run `foldlog compact --once`, if no compactor runs: it folds again what that one has not folded",
        )
    return [*([finding] if found.damage else []), *check_kept_snapshots(data)], found.snapshot


def check_kept_snapshots(data: DataDirectory) -> Iterator[Finding]:
    """Those that may have to take the place of a damaged one could."""
    for generation in kept_generations(data):
        path = data.kept_snapshot(generation)
        try:
            kept = decode_snapshot(path.read_bytes(), path)
            flaw = None if kept.generation == generation else f"is of generation {kept.generation}"
        except (OSError, SnapshotDamaged) as error:
            flaw = str(error)
        if flaw:
            yield Finding(path.name, flaw, "nothing: it is a spare, and the next pass puts it into quarantine/")


def check_ledger(snapshot: Snapshot, segments: list[Segment]) -> Iterator[Finding]:
    """Sequences: none twice, none missing between the folded and the newest."""
    numbers: dict[str, list[int]] = {}
    for segment in segments:
        numbers.setdefault(segment.name.writer, []).append(segment.name.sequence)
    for writer, found in numbers.items():
        unfolded = [number for number in found if number > snapshot.folded.get(writer, 0)]
        expected = set(range(snapshot.folded.get(writer, 0) + 1, max(unfolded, default=0) + 1))
        for number in sorted(expected - set(unfolded)):
            yield Finding(
                f"log/*-{writer}-{number:010d}.ndjson", "is missing and was not folded", "restore it from a backup"
            )
    for writer, gaps in snapshot.waiting.items():
        for number in gaps:
            if number not in numbers.get(writer, []):
                yield Finding(
                    f"log/*-{writer}-{number:010d}.ndjson",
                    "was missing when later ones were folded",
                    "restore it; it will be folded",
                )


def check_totals(data: DataDirectory, snapshot: Snapshot) -> Iterator[Finding]:
    """P8 in the snapshot: every line that was folded went somewhere."""
    totals = snapshot.totals
    if totals.lines != totals.accounted:
        yield Finding(
            data.snapshot.name,
            f"{totals.lines} lines were folded, but {totals.counted} counted, {totals.duplicates} duplicates, "
            f"{totals.quarantined} quarantined and {totals.erased} erased make {totals.accounted}",
            "run `foldlog rebuild`",
        )


def check_segments(checked: list[VerifiedSegment]) -> Iterator[Finding]:
    """Sealed segments are what was sealed, and hold good lines only."""
    for each in checked:
        if not each.damaged:
            continue
        where, todo = f"log/{each.segment.path.name}", "restore it from a backup, then run `foldlog rebuild`"
        is_there = recorded_sha256(each.segment.checksum) is not None
        what = (
            "differs from its .sha256"
            if is_there
            else f"has no .sha256 that can be read (log/{each.segment.checksum.name})"
        )
        if each.bad:
            yield Finding(where, f"{what}; {each.lines} lines hold, {each.quarantined} are in quarantine", todo)
        else:
            yield Finding(
                where, f"{what}; all its {each.lines} lines hold, but some may be missing", todo + SAME_SHA256
            )
        for line in each.bad[:SHOWN_LINES]:
            place = f"at byte {line.offset}" if line.offset >= 0 else "further on"
            yield Finding(f"{where} {place}", line.reason, f"see quarantine/{each.segment.name.stem}.ndjson")


def check_active(data: DataDirectory) -> Iterator[Finding]:
    """Lines of active segments; the last one may still be on its way."""
    for path in active_segments(data).values():
        with open_segment(path) as file:
            for line in scan_lines(iter_lines(file)):
                if line.reason and line.content.endswith(b"\n"):
                    yield Finding(
                        f"log/{path.name} at byte {line.offset}",
                        line.reason,
                        "restart the worker: it recovers the rest",
                    )


def check_parts(data: DataDirectory, snapshot: Snapshot) -> Iterator[Finding]:
    """Every part is there, byte for byte."""
    for kind, day, part in referenced_parts(snapshot):
        path = data.part(kind, day, part.generation)
        if error := part_error(path, part):
            yield Finding(str(path.relative_to(data.root)), str(error), RESTORE_PART)


def check_later(data: DataDirectory, snapshot: Snapshot) -> Iterator[Finding]:
    """No part is of a pass that the snapshot knows nothing of: one that was killed
    leaves those of the next one only.
    """
    later = list(later_parts(data, snapshot))
    if later:
        what = f"and {len(later) - 1} more are" if len(later) > 1 else "is"
        where = str(later[0].relative_to(data.root))
        yield Finding(
            where, f"{what} of a later generation than snapshot.json, as in a copy of a running directory", REBUILD
        )


def check_erasures(data: DataDirectory) -> Iterator[Finding]:
    """None is half done: then the log may hold a visitor whom the snapshot does not
    count any more.
    """
    for request in pending_requests(data):
        begun, done = progress_of(data, request.request)
        if begun and not done:
            path = data.erasure_request(request.request).relative_to(data.root)
            yield Finding(str(path), "an erasure is half done", "run `foldlog compact --once`, if no compactor runs")


def check_counters(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, settings: Settings
) -> Iterator[Finding]:
    """The counters of each day are what its archive holds, counted anew, and no event
    is archived twice.
    """
    counted = 0
    for day, kept in snapshot.days.items():
        counted += sum(part.rows for part in kept.archive)
        if kept.expired or kept.counters is None:
            continue
        events = from_archive_sql(f"read_parquet({sql_list(archive_paths(data, snapshot, [day]))})")
        build_day_counters(database, counting_sql(events))
        cap_values(database, settings.max_values)
        add_day_sums(database)
        published = sql_list([data.part("counters", day, kept.counters.generation)])
        columns = "bucket, site, bot, event, dimension, value, events"
        stored = f"SELECT {columns} FROM read_parquet({published}) WHERE visitors IS NULL"
        again = f"SELECT {columns} FROM counted"
        differing = count(database, f"(({stored}) EXCEPT ({again})) UNION ALL (({again}) EXCEPT ({stored}))")
        if differing:
            where = f"counters/{day}"
            yield Finding(where, f"{differing} rows differ from a recount of the archive", "run `foldlog rebuild`")
        repeated = count(database, f"SELECT 1 FROM {events} GROUP BY site, id HAVING count(*) > 1")
        if repeated:
            yield Finding(f"archive/{day}", f"{repeated} events are counted twice", "run `foldlog rebuild`")
    counted += sum(snapshot.forgotten.values())
    if not any(kept.expired for kept in snapshot.days.values()) and counted != snapshot.totals.counted:
        what = f"{snapshot.totals.counted} events were counted, the archive holds {counted}"
        yield Finding(data.snapshot.name, what, "run `foldlog rebuild`")


def check_log(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    checked: list[VerifiedSegment],
    settings: Settings,
) -> Iterator[Finding]:
    """Every retained line of a folded segment is in the archive of its day, or one with
    its id is near.
    """
    missing = "SELECT DISTINCT site, id FROM incoming WHERE NOT list_contains($gone::DATE[], time::DATE)"
    gone = [day for day, kept in snapshot.days.items() if kept.expired]
    values: dict[str, object] = {"gone": [*gone, *snapshot.forgotten]}
    if archive := archive_paths(data, snapshot, list(snapshot.days)):
        missing += f" EXCEPT SELECT site, id FROM {from_archive_sql('read_parquet($archive)')}"
        values["archive"] = [str(path) for path in archive]

    def lost(segments: list[VerifiedSegment]) -> int:
        try:
            load_lines(database, segments, settings.sites)
        except LinesDoNotParse:
            again = [verify_segment(data, each.segment, data.spill, distrust=True) for each in segments]
            load_lines(database, again, settings.sites)
        return count(database, missing, values)

    folded = [each for each in checked if snapshot.has_folded(each.segment.name)]
    # Many together, for each look reads the ids of the whole archive; one by one only
    # where something is amiss.
    for batch in _batches([each for each in folded if each.lines]):
        try:
            one_by_one = lost(batch) > 0
        except duckdb.OutOfMemoryException:
            one_by_one = True
        for each in batch if one_by_one else ():
            if events := lost([each]):
                where = f"log/{each.segment.path.name}"
                yield Finding(where, f"{events} of its events are not in the archive", "run `foldlog rebuild`")


def _batches(checked: list[VerifiedSegment]) -> Iterator[list[VerifiedSegment]]:
    """Segments that are read together."""
    batch: list[VerifiedSegment] = []
    taken = 0
    for each in checked:
        if batch and taken + each.segment.plain_bytes > BATCH_MAX_BYTES:
            yield batch
            batch, taken = [], 0
        batch.append(each)
        taken += each.segment.plain_bytes
    if batch:
        yield batch


def count(database: duckdb.DuckDBPyConnection, sql: str, values: dict[str, object] | None = None) -> int:
    return one_number(database, f"SELECT count(*) FROM ({sql})", values or {})
