"""Erasing one visitor: archive → counters → snapshot → log → quarantine, until no file
holds the id.

The snapshot comes first: from its commit on no report counts the visitor. Then goes
what only older snapshots need, and each segment that held the visitor is replaced by
one without (P4: nothing else ever replaces one). All of it can be done again: a crash
leaves the request in private/, and the next pass carries it out from wherever it
stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import msgspec

from compactor.compress import temp_compressed_files
from compactor.context import THREADS, PassContext, pass_context
from compactor.erasure.footprint import (
    MENTION_MIN,
    Found,
    Sought,
    hits,
    is_trace,
    received_unfolded,
    search,
    segment_files,
)
from compactor.generations.archive import archived_events
from compactor.generations.commit import commit
from compactor.generations.history import load_or_restore_snapshot, purge_history
from compactor.generations.part_writer import rewrite_day
from compactor.lock import CompactorLock
from compactor.retention.plan import doubted_since
from shared.disk.compression import CannotInflate, deflating
from shared.disk.durable import publish, publishing, remove
from shared.disk.layout import DataDirectory, parse_day, parse_segment
from shared.duckdb_engine import connect
from shared.erasures import (
    ErasureCompleted,
    ErasureRequest,
    ErasureStarted,
    FileDigest,
    delete_request,
    pending_requests,
    progress_of,
    record,
    temp_request_files,
    unreadable_requests,
)
from shared.generations.consistent_read import read_published
from shared.generations.load import load_snapshot
from shared.generations.part_presence import referenced_parts
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.schema import ARCHIVE_COLUMNS
from shared.segments.recovery import abandoned_temp_files
from shared.segments.sealed import Segment, readable_lines, recorded_sha256, sha256_line
from shared.settings import Settings
from shared.timestamps import rfc3339

_COLUMNS = ", ".join(ARCHIVE_COLUMNS)


def look(data: DataDirectory, settings: Settings, sought: Sought) -> Found:
    """What an erasure would find now. Changes nothing. Raises PartDamaged and
    PartsReplaced.
    """
    with closing(connect(settings.fold_memory, THREADS)) as database:
        return read_published(data, lambda snapshot: search(database, data, snapshot, sought))


def erase_pending(data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int) -> None:
    """Carry out every request, or what is left of it. Raises PartDamaged, CommitLost
    and OSError; what is pending stays so.
    """
    remove([*temp_request_files(data), *temp_compressed_files(data)])
    for path in unreadable_requests(data):
        log.warning(
            "erasure_unreadable", file=str(path), action="whom it names cannot be told: ask again, and remove it"
        )
    requests = pending_requests(data)
    if requests:  # not with every pass: where clocks differ, a writer that is at such a file would have to begin again
        remove(abandoned_temp_files(data))
        with pass_context(data, settings, log, lock, now_ms) as context:
            for request in requests:
                _erase(context, request)


def finish_in_log(data: DataDirectory) -> None:
    """Take out of the log whom the snapshot may not count any more: whoever folds the
    log again would count them again.

    For who holds the compactor's lock, and before the parts can be believed: what is
    half done is done to its end later.
    """
    for request in pending_requests(data):
        begun, _ = progress_of(data, request.request)
        names = {parse_segment(Path(each.file).name) for each in begun.files} if begun else set()
        sought = Sought(request.visitor, request.site)
        for segment in segment_files(data):
            if segment.name in names and any(hit.theirs for hit in hits(segment.path, sought)):
                _rewrite_segment(segment, sought)


def _erase(context: PassContext, request: ErasureRequest) -> None:
    data, log, lock = context.data, context.log, context.lock
    sought = Sought(request.visitor, request.site)
    waits_for = {path for path, at in received_unfolded(data, load_snapshot(data), sought) if at <= request.asked_at}
    if waits_for:
        reason = f"{min(waits_for)} holds the visitor and is not folded yet"
        log.warning("erasure_pending", request=request.request, reason=reason, action="nothing: each pass looks again")
        return
    before = load_or_restore_snapshot(data, log, lock)
    found = search(context.database, data, before, sought)
    begun = _begin(data, request, before, found)
    current = _uncount(context, before, found, sought)
    if current is not before:
        commit(data, before, current, lock)
    purge_history(data, current)
    for segment in found.segments:
        _rewrite_segment(segment, sought)
    for path in found.quarantine:
        _rewrite_quarantine(path, sought)
    _finish(data, begun, current, context.now_ms)
    delete_request(data, request)
    log.info(
        "visitor_erased", request=request.request, events=begun.events, lines=begun.lines, generation=current.generation
    )


def _uncount(context: PassContext, before: Snapshot, found: Found, sought: Sought) -> Snapshot:
    """The next generation, whose days do not hold the visitor; `before` when none
    does.
    """
    if not found.days:
        return before
    days = dict(before.days)
    for day in found.days:
        _keep_others(context, before, day, sought)
        old = days.pop(day)
        new = rewrite_day(context, day, old, "others", before.generation + 1)
        if old.expired:  # its archive is not all of it: its counters, which name nobody, stay as they are
            new = msgspec.structs.replace(old, archive=new.archive)
        if new.archive or new.counters:
            days[day] = new
    totals = before.totals
    return msgspec.structs.replace(
        before,
        generation=before.generation + 1,
        as_of=context.now,
        days=days,
        totals=msgspec.structs.replace(
            totals, counted=totals.counted - found.events, erased=totals.erased + found.events
        ),
        # As for a rebuild: a jump of the clock must not be hidden by it (P9).
        retention=msgspec.structs.replace(before.retention, doubted_since=doubted_since(before, context.now_ms)),
    )


def _keep_others(context: PassContext, snapshot: Snapshot, day: date, sought: Sought) -> None:
    """Make the table `others` of a day's events that are not the visitor's."""
    events = archived_events(context.data, snapshot, [day])
    context.database.execute(
        f"CREATE OR REPLACE TEMP TABLE others AS SELECT {_COLUMNS} FROM {events} "
        "WHERE visitor IS DISTINCT FROM $visitor OR ($site IS NOT NULL AND site <> $site)",
        sought._asdict(),
    )


def _rewrite_segment(segment: Segment, sought: Sought) -> None:
    """Replace a segment by one without the visitor's lines.

    The `.sha256` first: killed between the two, the lines are there still, and the next
    try comes here again. A segment that was damaged keeps the `.sha256` that says so.
    """
    before, after = hashlib.sha256(), hashlib.sha256()
    with publishing(segment.path) as beside:
        with deflating(beside, segment.path.suffix) as write:
            for line in _readable(segment.path):
                before.update(line)
                if not sought.is_in(line).theirs:
                    after.update(line)
                    write(line)
        if before.hexdigest() == recorded_sha256(segment.checksum):
            publish(segment.checksum, sha256_line(after.hexdigest(), segment.name.file))


def _readable(path: Path) -> Iterator[bytes]:
    """What can be read of a segment, line by line."""
    try:
        yield from readable_lines(path)
    except CannotInflate:
        return


def _rewrite_quarantine(path: Path, sought: Sought) -> None:
    """Leave out what holds the visitor. Of a damaged part nothing can be left out: all
    of it goes, its events are elsewhere.
    """
    records = [] if path.suffix == ".parquet" else [line for line in _readable(path) if not is_trace(line, sought)]
    if records:
        with publishing(path) as beside, deflating(beside, path.suffix) as write:
            write(b"".join(records))
    else:
        remove([path])


def _begin(data: DataDirectory, request: ErasureRequest, before: Snapshot, found: Found) -> ErasureStarted:
    """What was found, as it is recorded once: a second try finds less, since the first
    has done some of it.
    """
    begun, _ = progress_of(data, request.request)
    if begun is None:
        begun = ErasureStarted(
            request.request,
            request.asked_at,
            request.site,
            events=found.events,
            days=len(found.days),
            lines=found.lines,
            segments=len(found.segments),
            quarantined=sum(found.quarantine.values()),
            other_sites=found.other_sites,
            mentions=found.mentions if len(request.visitor) >= MENTION_MIN else None,
            unreadable=tuple(path.name for path in found.unreadable),
            files=(*_parts(data, before, found.days), *_segments(data, found.segments)),
        )
        record(data, begun)
    return begun


def _parts(data: DataDirectory, snapshot: Snapshot, days: Iterable[date]) -> Iterator[FileDigest]:
    for kind, day, part in referenced_parts(snapshot):
        if day in days:
            yield FileDigest(str(data.part(kind, day, part.generation).relative_to(data.root)), part.sha256)


def _segments(data: DataDirectory, segments: Iterable[Segment]) -> Iterator[FileDigest]:
    for segment in segments:
        yield FileDigest(str(segment.path.relative_to(data.root)), recorded_sha256(segment.checksum))


def _finish(data: DataDirectory, begun: ErasureStarted, current: Snapshot, now_ms: int) -> None:
    """Record what has taken the place of the files that held the visitor."""
    _, done = progress_of(data, begun.request)
    if done is None:
        held = {data.root / each.file for each in begun.files}
        days = {day for path in held if (day := parse_day(path.parent.name))}
        segments = [segment for segment in segment_files(data) if segment.path in held]
        files = (*_parts(data, current, days), *_segments(data, segments))
        record(data, ErasureCompleted(begun.request, rfc3339(now_ms), current.generation, files))
