"""What a restored directory has and the published generation has not: segments, which
get a writer of their own, and rows of its archive, which become lines again.

A number of a segment may have been used twice: the published ledger calls a segment
folded that only has the number of one that was. Under a new writer each of its lines is
folded, and those that count already are duplicates by their ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from compactor.generations.archive import OpenedPart, events_of, open_archive, open_parts
from compactor.sql import sql_file
from shared.control_chars import escape_in_log
from shared.disk.compression import DecompressionError
from shared.disk.durable import publish
from shared.disk.layout import DataDirectory, SegmentName, parse_rotated
from shared.disk.listing import list_files
from shared.generations.snapshot import Part, Snapshot
from shared.lateness import DEDUPE_DAYS, dedupe_window
from shared.schema import FIELDS
from shared.segments.line import SCHEMA_VERSION, append_crc
from shared.segments.recovery import current_second
from shared.segments.sealed import Segment, active_segments, readable_lines, sealed_segments, sha256_line
from shared.sql.archive_events import id_number_sql
from shared.timestamps import rfc3339

if TYPE_CHECKING:
    import duckdb

LINES_OF_SEGMENT = 20_000
_FIELDS = [field for field in FIELDS if field.is_in_line]
_ENCODER = msgspec.json.Encoder()
_TIMES = ("time", "received")


class _Line(msgspec.Struct):
    time: datetime


_LINE = msgspec.json.Decoder(_Line)


def unpublished_segments(data: DataDirectory, local: Snapshot, published: Snapshot) -> list[Segment]:
    """Segments with lines that are not in both generations. Those that the published
    one waits for by their names keep them.
    """
    waiting = {*published.partial, *(_set_aside(published) & _set_aside(local))}
    return [
        each
        for each in sealed_segments(data)
        if each.name.stem not in waiting and not (local.has_folded(each.name) and published.has_folded(each.name))
    ]


def _set_aside(snapshot: Snapshot) -> set[str]:
    return {entry.segment for entry in snapshot.set_aside}


def days_of_lines(data: DataDirectory, segments: Iterable[Segment]) -> set[date]:
    """The UTC days of the lines of segments, and of those that are not sealed yet."""
    rotated = [path for path in list_files(data.log) if parse_rotated(path.name)]
    days = set()
    for path in (*(each.path for each in segments), *rotated, *active_segments(data).values()):
        with suppress(DecompressionError):  # the fold reads as far
            for line in readable_lines(path):
                with suppress(msgspec.MsgspecError):  # the fold puts it into quarantine
                    days.add(_LINE.decode(line).time.astimezone(UTC).date())
    return days


def later_parts(local: Snapshot, generation: int) -> dict[date, dict[str, list[Part]]]:
    """By day and kind, parts of events that were written after the generation that this
    directory published last. All that older parts have is published.
    """
    found: dict[date, dict[str, list[Part]]] = {}
    for day, kept in local.days.items():
        for kind, parts in (("archive", kept.archive), ("yielded", kept.yielded)):
            if later := [part for part in parts if part.generation > generation]:
                found.setdefault(day, {})[kind] = later
    return found


def write_lines(
    database: duckdb.DuckDBPyConnection,
    local: DataDirectory,
    parts: Mapping[date, Mapping[str, Iterable[Part]]],
    published: tuple[DataDirectory, Snapshot],
    writer: str,
) -> tuple[int, int]:
    """Write the events of these parts that the published generation neither counts nor
    yields as sealed segments of a writer, into the log of the published directory.
    Returns how many segments and lines. Raises PartDamaged.
    """
    opened: list[OpenedPart] = [
        each
        for day, kinds in parts.items()
        for kind, its in kinds.items()
        for each in open_parts(local, kind, day, its)
    ]
    window = sorted(dedupe_window(parts))
    there = [each for kind in ("archive", "yielded") for each in open_archive(*published, window, kind)]
    numbers = {"local_number": id_number_sql("e.site", "e.id"), "published_number": id_number_sql("p.site", "p.id")}
    sql = sql_file(__file__, "unpublished.sql", local=events_of(opened), published=events_of(there), **numbers)
    rows = database.execute(sql, {"window": DEDUPE_DAYS})
    names = [column[0] for column in rows.description or ()]
    segments, lines, sealed_at = 0, 0, current_second()
    while found := rows.fetchmany(LINES_OF_SEGMENT):
        segments, lines = segments + 1, lines + len(found)
        _seal(published[0], SegmentName(writer, segments, sealed_at), _encode(names, found))
    return segments, lines


def _encode(names: list[str], rows: Iterable[tuple[Any, ...]]) -> bytes:
    """Log lines as the writers write them."""
    objects = _ENCODER.encode_lines([_line(dict(zip(names, row, strict=True))) for row in rows])
    return append_crc(b"{", escape_in_log(objects)[1:-2].split(b"}\n{"))


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a line. An event without a sender is of version 1."""
    line: dict[str, Any] = {"v": SCHEMA_VERSION if row["sender"] else 1}
    for field in _FIELDS:
        value = row[field.name]
        if value is not None:
            line[field.line_name] = value
    for name in _TIMES:
        line[name] = rfc3339(line[name])
    if "props" in line:
        line["props"] = msgspec.Raw(line["props"].encode())
    return line


def _seal(data: DataDirectory, name: SegmentName, content: bytes) -> None:
    publish(data.log / name.checksum, sha256_line(hashlib.sha256(content).hexdigest(), name.file))
    publish(data.log / name.file, content)


def renumbered(segments: Iterable[Segment], writer: str, first: int) -> Iterator[tuple[SegmentName, SegmentName]]:
    """Old and new names."""
    for sequence, each in enumerate(segments, first):
        yield each.name, SegmentName(writer, sequence, each.name.sealed_at)
