"""Erasing one visitor: archive → counters → snapshot → log → quarantine, until no file
contains the id.

The snapshot is committed first: from then on no report counts the visitor. Then older
snapshots and the parts that only they reference are deleted, and each segment that held
the visitor is replaced by one without (P4: nothing else ever replaces a segment). Every
step can be repeated: a crash leaves the request in private/, and the next pass finishes
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import msgspec
from msgspec.structs import replace

from compactor.compress import temp_compressed_files
from compactor.context import PassContext, pass_context
from compactor.erasure.footprint import VisitorFootprint, matching_lines, received_unfolded, search, segment_files
from compactor.erasure.record import record_completion, record_start
from compactor.erasure.visitor_filter import VisitorFilter
from compactor.generations.archive import OpenedPart, open_parts, stored_events
from compactor.generations.clustered import STORED_COLUMNS_SQL
from compactor.generations.commit import commit
from compactor.generations.day_merge import count_day, replace_day
from compactor.generations.history import load_or_restore_snapshot, purge_history
from compactor.generations.id_index import write_ids
from compactor.generations.part_files import write_part
from compactor.generations.part_writer import with_archive_part
from compactor.lock import CompactorLock
from compactor.next_generation import next_generation
from compactor.pass_over import widen_entries
from compactor.sql import count_rows, sql_list
from compactor.summary.summarize import with_summary
from compactor.threads import fold_threads
from shared.disk.compression import DecompressionError, compressing
from shared.disk.durable import publish, publishing, remove
from shared.disk.layout import DataDirectory, parse_segment
from shared.duckdb_engine import connect, database_error, one_thread
from shared.erasures import (
    ErasureRequest,
    ErasureStarted,
    delete_request,
    pending_requests,
    progress_of,
    temp_request_files,
    unreadable_requests,
    write_order,
)
from shared.generations.consistent_read import read_published
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day, Snapshot
from shared.log import Log
from shared.segments.recovery import abandoned_temp_files
from shared.segments.sealed import Segment, readable_lines, recorded_sha256, sha256_line
from shared.settings import Settings
from shared.sql.parquet import parquet

# Of a relation `e` of stored events.
_OF_VISITOR = "(e.visitor IS NOT DISTINCT FROM $visitor AND ($site IS NULL OR e.site = $site))"


def preview_erasure(data: DataDirectory, settings: Settings, visitor: VisitorFilter) -> VisitorFootprint:
    """What an erasure would find now. Read-only. Raises PartDamaged and
    PartsReplaced.
    """
    with closing(connect(settings.fold_memory, fold_threads(data, settings))) as database:
        return read_published(data, lambda snapshot: search(database, data, snapshot, visitor))


def erase_pending(data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int) -> None:
    """Carry out every request, or finish an interrupted one.

    Raises PartDamaged, CommitLost and OSError; the requests then remain pending.
    """
    remove([*temp_request_files(data), *temp_compressed_files(data)])
    for path in unreadable_requests(data):
        action = "repeat the request, since the visitor id in this one is lost, and remove the file"
        log.warning("erasure_unreadable", file=str(path), action=action)
    requests = pending_requests(data)
    # Only with a request: where clocks differ, the file may belong to a live writer,
    # which would have to start over.
    if requests:
        remove(abandoned_temp_files(data))
    for request in requests:
        _erase(data, settings, log, lock, request, now_ms)


def finish_log_rewrites(data: DataDirectory) -> None:
    """Finish removing already-erased visitors from the log, so that a replay does not
    count them again.

    The caller holds the compactor's lock. The requests remain pending: a later pass
    completes them, once the parts are known to be intact.
    """
    for request in pending_requests(data):
        started, _ = progress_of(data, request.request)
        names = {parse_segment(Path(each.file).name) for each in started.files} if started else set()
        visitor = VisitorFilter(request.visitor, request.site)
        for segment in segment_files(data):
            if segment.name in names and any(line.matches for line in matching_lines(segment.path, visitor)):
                _rewrite_segment(segment, visitor)


def _erase(
    data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, request: ErasureRequest, now_ms: int
) -> None:
    if settings.hosts_database:
        write_order(data, request)
    visitor = VisitorFilter(request.visitor, request.site)
    unfolded = {path for path, at in received_unfolded(data, load_snapshot(data), visitor) if at <= request.asked_at}
    if unfolded:
        reason = f"{min(unfolded)} contains the visitor and is not folded yet"
        log.warning("erasure_pending", request=request.request, reason=reason, action="nothing: each pass retries")
        return
    try:
        with pass_context(data, settings, log, lock, now_ms) as context:
            found, started, current = _commit_without(context, request, visitor)
    except database_error("OutOfMemoryException"):
        # Each of several threads wants memory of its own. What the first try has left
        # is what a crash would leave; its database is gone with its tables.
        with pass_context(data, settings, log, lock, now_ms) as context, one_thread(context.database):
            found, started, current = _commit_without(context, request, visitor)
    purge_history(data, current)
    for segment in found.segments:
        _rewrite_segment(segment, visitor)
    for path in found.quarantine:
        _rewrite_quarantine(path, visitor)
    record_completion(data, started, current, now_ms)
    delete_request(data, request)
    counts = {"events": started.events, "lines": started.lines}
    log.info("visitor_erased", request=request.request, **counts, generation=current.generation)


def _commit_without(
    context: PassContext, request: ErasureRequest, visitor: VisitorFilter
) -> tuple[VisitorFootprint, ErasureStarted, Snapshot]:
    """What was found, the record of that, and the committed snapshot without it.
    Raises OutOfMemoryException.
    """
    data, lock = context.data, context.lock
    before = load_or_restore_snapshot(data, context.log, lock)
    found = search(context.database, data, before, visitor)
    started = record_start(data, request, before, found)
    current = remove_from_archive(context, before, found, visitor)
    current = widen_entries(before, current, found.segments, lambda line: visitor.match(line).matches)
    if current is not before:
        current = with_summary(context, before, current)
        commit(data, before, current, lock)
    return found, started, current


# --- the archive


def remove_from_archive(
    context: PassContext, before: Snapshot, found: VisitorFootprint, visitor: VisitorFilter
) -> Snapshot:
    """The next generation, whose days do not contain the visitor; `before` if none
    does.
    """
    yielded = [day for day, events in found.yielded.items() if events]
    if not (found.days or yielded):
        return before
    days = dict(before.days)
    for day in yielded:
        days[day] = _rewrite_yielded(context, before, day, visitor)
    for day in found.days:
        new = _rewrite_day(context, before, days.get(day, before.days[day]), day, visitor)
        if new.archive or new.counters or new.yielded:
            days[day] = new
        else:
            del days[day]
    return _without_events(context, before, days, found.events)


def _without_events(context: PassContext, before: Snapshot, days: dict[date, Day], events: int) -> Snapshot:
    """The next generation, with so many events moved from counted to erased."""
    totals = msgspec.structs.replace(
        before.totals, counted=before.totals.counted - events, erased=before.totals.erased + events
    )
    return msgspec.structs.replace(next_generation(context, before), days=days, totals=totals)


def _rewrite_yielded(context: PassContext, before: Snapshot, day: date, visitor: VisitorFilter) -> Day:
    """Publish the events that other hosts count anew, without the visitor's."""
    old = before.days[day]
    paths = sql_list(path for _, path in open_parts(context.data, "yielded", day, old.yielded))
    sql = f"SELECT * FROM {parquet(paths)} e WHERE NOT {_OF_VISITOR}"
    rows = count_rows(context.database, f"({sql})", visitor._asdict())
    part = write_part(context, "yielded", day, before.generation + 1, sql, rows, values=visitor._asdict())
    return replace(old, yielded=(part,) if part else ())


def _rewrite_day(context: PassContext, before: Snapshot, old: Day, day: date, visitor: VisitorFilter) -> Day:
    """Publish the events of others anew, of each part that has the visitor, in the
    order in which they are: sorting them would take memory.
    """
    generation = before.generation + 1
    opened = open_parts(context.data, "archive", day, old.archive)
    found = {part.generation: _count_events(context, (part, path), visitor) for part, path in opened}
    affected = [(part, path) for part, path in opened if found[part.generation]]
    rows = sum(part.rows - found[part.generation] for part, _ in affected)
    sql = f"SELECT {STORED_COLUMNS_SQL} FROM {stored_events(affected)} e WHERE NOT {_OF_VISITOR}"
    part = write_part(context, "archive", day, generation, sql, rows, values=visitor._asdict())
    index = write_ids(context, day, generation, [context.data.part("archive", day, generation)]) if part else None
    new = with_archive_part(old, (each for each, _ in affected), part, index)
    # The archive of an expired day is incomplete, so its counters cannot be recounted.
    # They contain no visitor id, and are kept.
    return new if old.expired else count_day(context, replace_day(before, day, new), day, generation)


def _count_events(context: PassContext, part: OpenedPart, visitor: VisitorFilter) -> int:
    return count_rows(context.database, f"{stored_events([part])} e WHERE {_OF_VISITOR}", visitor._asdict())


# --- the log and quarantine


def _rewrite_segment(segment: Segment, visitor: VisitorFilter) -> None:
    """Replace a segment by one without the visitor's lines.

    The `.sha256` is replaced first: after a crash between the two the lines still
    exist, so a retry finds the segment again. A damaged segment keeps its `.sha256`,
    which shows the damage.
    """
    before, after = hashlib.sha256(), hashlib.sha256()
    with publishing(segment.path) as beside:
        with compressing(beside, segment.path.suffix) as write:
            for line in _readable_lines(segment.path):
                before.update(line)
                if not visitor.match(line).matches:
                    after.update(line)
                    write(line)
        if before.hexdigest() == recorded_sha256(segment.checksum):
            publish(segment.checksum, sha256_line(after.hexdigest(), segment.name.file))


def _readable_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that may be damaged, up to where it can be inflated."""
    try:
        yield from readable_lines(path)
    except DecompressionError:
        return


def _rewrite_quarantine(path: Path, visitor: VisitorFilter) -> None:
    """Remove the visitor's records. A damaged part cannot be rewritten, so it is
    deleted; its events are in other parts.
    """
    is_part = path.suffix == ".parquet"
    records = [] if is_part else [line for line in _readable_lines(path) if not visitor.matches_record(line)]
    if not records:
        remove([path])
        return
    with publishing(path) as beside, compressing(beside, path.suffix) as write:
        write(b"".join(records))
