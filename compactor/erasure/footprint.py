"""The footprint of a visitor: which lines of the log, days of the archive and files of
quarantine/ contain the id. Read-only.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from compactor.erasure.visitor_filter import LineMatch, VisitorFilter
from compactor.generations.archive import archived_events, events_of, open_parts
from compactor.sql import count_rows, sql_list
from shared.disk.compression import DecompressionError, decompressed_blocks
from shared.disk.layout import TEMP_SUFFIX, DataDirectory, parse_checksum, parse_segment
from shared.disk.listing import list_files
from shared.duckdb_engine import one_number
from shared.generations.snapshot import Snapshot
from shared.schema import FREE_TEXT
from shared.segments.sealed import Segment, active_segments, open_segment, readable_lines
from shared.sql.parquet import parquet

if TYPE_CHECKING:
    import duckdb

_BLOCK_BYTES = 1 << 20
# How much of a file is decoded to find out whether it is text.
_SAMPLE_BYTES = 1 << 12


@dataclass
class VisitorFootprint:
    """What contains a visitor.

    `days`: events by UTC day of the archive; `yielded`: the same of those that another
    host of the store counts; `segments`: lines by folded segment;
    `quarantine`: records by file of quarantine/; `unfolded`: lines that are not folded
    yet.

    Not to be erased: `other_sites`, events of the visitor on sites outside the request;
    `mentions`, events of other visitors that mention the id; `unreadable`, files that
    cannot be searched.
    """

    days: dict[date, int] = field(default_factory=dict)
    yielded: dict[date, int] = field(default_factory=dict)
    segments: dict[Segment, int] = field(default_factory=dict)
    quarantine: dict[Path, int] = field(default_factory=dict)
    unreadable: list[Path] = field(default_factory=list)
    unfolded: int = 0
    other_sites: int = 0
    mentions: int = 0

    @property
    def events(self) -> int:
        return sum(self.days.values())

    @property
    def lines(self) -> int:
        return sum(self.segments.values())


def search(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, visitor: VisitorFilter
) -> VisitorFootprint:
    """Search archive, log and quarantine. Raises PartDamaged."""
    found = VisitorFootprint()
    for day in sorted(snapshot.days):
        _search_day(database, data, snapshot, day, visitor, found)
    for segment in segment_files(data):
        if snapshot.has_passed(segment.name):
            _search_segment(segment, visitor, found)
    unfolded = _unfolded_files(data, snapshot)
    found.unfolded = sum(1 for _ in _received_in(unfolded, visitor))
    # A temporary file has no line that another file lacks.
    found.unreadable += [path for path in unfolded if path.suffix != TEMP_SUFFIX and _is_opaque(path)]
    _search_quarantine(database, data, visitor, found)
    return found


# --- the log


def segment_files(data: DataDirectory) -> Iterator[Segment]:
    """Every file of a sealed segment: two where it exists both plain and compressed."""
    for path in list_files(data.log):
        if (name := parse_segment(path.name)) is not None and path.is_file():
            yield Segment(name, path)


def received_unfolded(data: DataDirectory, snapshot: Snapshot, visitor: VisitorFilter) -> Iterator[tuple[Path, str]]:
    """Each line of the visitor that is not folded: its file, and its time of receipt.

    Active segments are read first, and the log is listed only then, so that a segment
    sealed meanwhile is read under at least one of its names.
    """
    yield from _received_in(filter(Path.is_file, active_segments(data).values()), visitor)
    yield from _received_in(_unfolded_files(data, snapshot), visitor)


def matching_lines(path: Path, visitor: VisitorFilter) -> Iterator[LineMatch]:
    """How each line of a file of the log relates to the visitor, up to where the file
    can be inflated.
    """
    with suppress(DecompressionError):
        yield from _match_lines(path, visitor)


def _match_lines(path: Path, visitor: VisitorFilter) -> Iterator[LineMatch]:
    """As `matching_lines`. Raises CannotInflate after the last readable line."""
    if _may_contain(path, visitor.prefilter):
        for line in readable_lines(path):
            yield visitor.match(line)


def _may_contain(path: Path, prefilter: bytes) -> bool:
    """Whether the bytes occur anywhere in a file. Most segments have nothing of a
    visitor, and need no decoding.
    """
    end = b""
    try:
        for block in decompressed_blocks(path, _BLOCK_BYTES):
            window = end + block
            if prefilter in window:
                return True
            end = window[-len(prefilter) :]
    except DecompressionError:
        return True
    return False


def _search_segment(segment: Segment, visitor: VisitorFilter, found: VisitorFootprint) -> None:
    lines = 0
    try:
        for match in _match_lines(segment.path, visitor):
            lines += match.matches
    except DecompressionError:
        if not lines:  # otherwise the segment is rewritten from its readable lines
            found.unreadable.append(segment.path)
    if lines:
        found.segments[segment] = lines


def _unfolded_files(data: DataDirectory, snapshot: Snapshot) -> list[Path]:
    """All files of the log that contain lines, except folded segments."""
    names = ((path, parse_segment(path.name)) for path in list_files(data.log) if not parse_checksum(path.name))
    return [path for path, name in names if (name is None or not snapshot.has_passed(name)) and path.is_file()]


def _received_in(paths: Iterable[Path], visitor: VisitorFilter) -> Iterator[tuple[Path, str]]:
    for path in paths:
        try:
            yield from [(path, match.received or "") for match in matching_lines(path, visitor) if match.matches]
        except FileNotFoundError:
            continue  # sealed since it was listed


def _is_opaque(path: Path) -> bool:
    """Whether a file is not text: it may be compressed in a format that Foldlog does
    not read, and contain any visitor.
    """
    try:
        with open_segment(path) as file:
            codecs.getincrementaldecoder("utf-8")().decode(file.read(_SAMPLE_BYTES))
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        return True
    return False


# --- the archive


def _search_day(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    day: date,
    visitor: VisitorFilter,
    found: VisitorFootprint,
) -> None:
    events = archived_events(data, snapshot, [day])
    of_visitor = "visitor = $visitor AND ($site IS NULL OR site = $site)"
    on_site = count_rows(database, f"{events} e WHERE {of_visitor}", visitor._asdict())
    if on_site:
        found.days[day] = on_site
    if yielded := snapshot.days[day].yielded:
        rows = events_of(open_parts(data, "yielded", day, yielded))
        found.yielded[day] = count_rows(database, f"{rows} e WHERE {of_visitor}", visitor._asdict())
    if visitor.site is not None:
        elsewhere = "visitor = $visitor AND site <> $site"
        found.other_sites += count_rows(database, f"{events} e WHERE {elsewhere}", visitor._asdict())
    if visitor.finds_mentions:
        mentions = " OR ".join(f"contains({column}, $visitor)" for column in FREE_TEXT)
        by_others = f"visitor IS DISTINCT FROM $visitor AND ({mentions})"
        found.mentions += count_rows(database, f"{events} e WHERE {by_others}", {"visitor": visitor.visitor})


# --- quarantine


def _search_quarantine(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, visitor: VisitorFilter, found: VisitorFootprint
) -> None:
    import duckdb

    for path in filter(Path.is_file, list_files(data.quarantine)):
        try:
            records = _count_records(database, path, visitor)
        except (OSError, duckdb.Error):
            found.unreadable.append(path)
            continue
        if records:
            found.quarantine[path] = records
        elif path.suffix != ".parquet" and _is_opaque(path):
            found.unreadable.append(path)


def _count_records(database: duckdb.DuckDBPyConnection, path: Path, visitor: VisitorFilter) -> int:
    """How many records of a file in quarantine/ contain the visitor. Raises OSError and
    duckdb.Error.
    """
    if path.suffix != ".parquet":
        return sum(visitor.matches_record(line) for line in readable_lines(path))
    source = parquet(sql_list([path]))
    columns = [name for (name, *_) in database.execute(f"DESCRIBE FROM {source}").fetchall()]
    if "visitor" not in columns:
        return 0  # counters contain no visitor ids
    # hash() reads every column, so that a damaged file raises instead of counting 0.
    sql = f"SELECT count(hash(p)) FROM {source} p WHERE visitor = $visitor"
    return one_number(database, sql, {"visitor": visitor.visitor})
