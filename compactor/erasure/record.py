"""The record of an erasure in erasures.ndjson: what contained the visitor, and what
replaced it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from compactor.erasure.footprint import VisitorFootprint, segment_files
from compactor.erasure.visitor_filter import VisitorFilter
from shared.disk.layout import DataDirectory, parse_day
from shared.erasures import ErasureCompleted, ErasureRequest, ErasureStarted, FileDigest, append_record, progress_of
from shared.generations.part_presence import referenced_parts
from shared.generations.snapshot import Snapshot
from shared.segments.sealed import Segment, recorded_sha256
from shared.timestamps import rfc3339


def record_start(
    data: DataDirectory, request: ErasureRequest, before: Snapshot, found: VisitorFootprint
) -> ErasureStarted:
    """The record of what was found. It is written once: a retry finds less, because the
    first attempt has removed some of it.
    """
    started, _ = progress_of(data, request.request)
    if started is not None:
        return started
    visitor = VisitorFilter(request.visitor, request.site)
    started = ErasureStarted(
        request.request,
        request.asked_at,
        request.site,
        events=found.events,
        days=len(found.days),
        lines=found.lines,
        segments=len(found.segments),
        quarantined=sum(found.quarantine.values()),
        other_sites=found.other_sites,
        mentions=found.mentions if visitor.finds_mentions else None,
        unreadable=tuple(path.name for path in found.unreadable),
        files=(*_parts(data, before, found.days), *_segments(data, found.segments)),
    )
    append_record(data, started)
    return started


def record_completion(data: DataDirectory, started: ErasureStarted, current: Snapshot, now_ms: int) -> None:
    """Record the replacements of the files that contained the visitor, once."""
    _, completed = progress_of(data, started.request)
    if completed is not None:
        return
    affected = {data.root / each.file for each in started.files}
    days = {day for path in affected if (day := parse_day(path.parent.name))}
    segments = [segment for segment in segment_files(data) if segment.path in affected]
    files = (*_parts(data, current, days), *_segments(data, segments))
    append_record(data, ErasureCompleted(started.request, rfc3339(now_ms), current.generation, files))


def _parts(data: DataDirectory, snapshot: Snapshot, days: Iterable[date]) -> Iterator[FileDigest]:
    for each in referenced_parts(snapshot):
        if each.day in days:
            yield FileDigest(str(each.path(data).relative_to(data.root)), each.part.sha256)


def _segments(data: DataDirectory, segments: Iterable[Segment]) -> Iterator[FileDigest]:
    for segment in segments:
        yield FileDigest(str(segment.path.relative_to(data.root)), recorded_sha256(segment.checksum))
