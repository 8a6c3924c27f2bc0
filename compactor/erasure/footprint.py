"""Where a visitor is: in which lines of the log, which days of the archive, which files
of quarantine/. Changes nothing.

A line belongs to the visitor by its field `visitor`, letter by letter. The same text in
another field of somebody else's event (an URL, a property) is a mention: it is counted,
so that whoever asks for an erasure can be told of it.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import msgspec

from compactor.generations.archive import archive_paths
from compactor.sql import sql_list
from shared.disk.compression import CannotInflate, inflated
from shared.disk.layout import TEMPORARY_SUFFIX, DataDirectory, parse_checksum, parse_segment
from shared.disk.listing import list_files
from shared.duckdb_engine import one_row
from shared.generations.snapshot import Snapshot
from shared.schema import FREE_TEXT
from shared.segments.sealed import Segment, active_segments, open_segment, readable_lines
from shared.sql.archive_events import from_archive_sql

# A shorter id is part of too many texts that have nothing to do with it.
MENTION_MIN = 6
_BLOCK = 1 << 20
# How much of a file shows whether it is text.
_LOOK = 1 << 12
# JSON never escapes these: what a line holds of an id, it holds of its longest run of
# them.
_PLAIN = re.compile(rb"[A-Za-z0-9_.@:+=-]+")


class Sought(NamedTuple):
    """A visitor id, and the one site that is meant, or None for all."""

    visitor: str
    site: str | None

    @property
    def hint(self) -> bytes:
        """Bytes that every line with this visitor holds: what has none of them need not
        be decoded.
        """
        return max(_PLAIN.findall(self.visitor.encode("utf-8")), key=len, default=b"")

    def is_in(self, line: bytes) -> Hit:
        """What a line is to this visitor. Of one that is no event any more every trace
        is theirs: nobody else can use it.
        """
        if self.hint not in line:
            return _NO_HIT
        try:
            event = msgspec.json.decode(line)
            is_theirs, site = event.get("visitor") == self.visitor, event.get("site")
        except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
            return Hit(theirs=self.visitor.encode("utf-8") in line or self.visitor in _unescaped(line))
        if is_theirs:
            return Hit(
                theirs=self.site in {None, site},
                other_site=self.site not in {None, site},
                received=event.get("received"),
            )
        return Hit(mention=len(self.visitor) >= MENTION_MIN and self.visitor in _texts(event))


class Hit(NamedTuple):
    """At most one is true."""

    theirs: bool = False
    other_site: bool = False
    mention: bool = False
    received: str | None = None


_NO_HIT = Hit()
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")


def _unescaped(line: bytes) -> str:
    """A line that is no JSON any more, with what JSON wrote as escapes."""
    return _ESCAPES.sub(lambda found: _as_json(found[0]), line.decode("utf-8", "replace"))


def _as_json(escapes: str) -> str:
    try:
        return str(msgspec.json.decode(f'"{escapes}"'))
    except msgspec.DecodeError:
        return escapes


def _texts(event: dict[str, Any]) -> str:
    props = event.get("props")
    values = [*event.values(), *(props.values() if isinstance(props, dict) else ())]
    return "\n".join(value for value in values if isinstance(value, str))


@dataclass
class Found:
    """What holds a visitor: events by day, lines by folded segment, records by file of
    quarantine/, lines that are not folded.

    What holds the id and is not meant: events of theirs on other sites, events of
    others that mention it.
    """

    days: dict[date, int] = field(default_factory=dict)
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


def search(database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, sought: Sought) -> Found:
    """Look at everything there is. Raises PartDamaged when a part cannot be
    believed.
    """
    found = Found()
    for day in sorted(snapshot.days):
        _search_day(database, data, snapshot, day, sought, found)
    for segment in segment_files(data):
        if snapshot.has_folded(segment.name):
            _search_segment(segment, sought, found)
    unfolded = _unfolded_files(data, snapshot)
    found.unfolded = sum(1 for _ in _received_in(unfolded, sought))
    # What is being made holds nothing that is not in another file, too.
    found.unreadable += [path for path in unfolded if path.suffix != TEMPORARY_SUFFIX and _is_opaque(path)]
    _search_quarantine(database, data, sought, found)
    return found


def _search_segment(segment: Segment, sought: Sought, found: Found) -> None:
    lines = 0
    try:
        for hit in _readable_hits(segment.path, sought):
            lines += hit.theirs
    except CannotInflate:
        if not lines:  # else what can be read of it takes its place
            found.unreadable.append(segment.path)
    if lines:
        found.segments[segment] = lines


def segment_files(data: DataDirectory) -> Iterator[Segment]:
    """Every file of a sealed segment: the plain one and the compressed one where both
    are there.
    """
    for path in list_files(data.log):
        if (name := parse_segment(path.name)) is not None and path.is_file():
            yield Segment(name, path)


def received_unfolded(data: DataDirectory, snapshot: Snapshot, sought: Sought) -> Iterator[tuple[Path, str]]:
    """Each line of the visitor that is not folded yet: the file of the log that it is
    in, and when it was received.

    Active segments first, and all files listed only then: what is sealed meanwhile is
    seen under one of its names, or both.
    """
    yield from _received_in(filter(Path.is_file, active_segments(data).values()), sought)
    yield from _received_in(_unfolded_files(data, snapshot), sought)


def _unfolded_files(data: DataDirectory, snapshot: Snapshot) -> list[Path]:
    """All files of the log that hold lines, but for folded segments."""
    names = ((path, parse_segment(path.name)) for path in list_files(data.log) if not parse_checksum(path.name))
    return [path for path, name in names if (name is None or not snapshot.has_folded(name)) and path.is_file()]


def _received_in(paths: Iterable[Path], sought: Sought) -> Iterator[tuple[Path, str]]:
    for path in paths:
        try:
            yield from [(path, hit.received or "") for hit in hits(path, sought) if hit.theirs]
        except FileNotFoundError:
            continue  # sealed since it was listed


def hits(path: Path, sought: Sought) -> Iterator[Hit]:
    """What each line of a file of the log is to the visitor."""
    with suppress(CannotInflate):  # what cannot be inflated is in no line
        yield from _readable_hits(path, sought)


def _readable_hits(path: Path, sought: Sought) -> Iterator[Hit]:
    """As `hits`. Raises CannotInflate after the last line that can be read."""
    if _may_be_in(path, sought.hint):
        for line in readable_lines(path):
            yield sought.is_in(line)


def _is_opaque(path: Path) -> bool:
    """Whether a file that somebody put here is no text: it may hold anybody, compressed
    as only other programs can read it.
    """
    try:
        with open_segment(path) as file:
            codecs.getincrementaldecoder("utf-8")().decode(file.read(_LOOK))
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        return True
    return False


def _may_be_in(path: Path, hint: bytes) -> bool:
    """Whether some bytes are anywhere in a file: most segments hold none of a visitor,
    and are passed over in one look.
    """
    end = b""
    try:
        for block in inflated(path, _BLOCK):
            seen = end + block
            if hint in seen:
                return True
            end = seen[-len(hint) :]
    except CannotInflate:
        return True
    return False


def _search_day(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    day: date,
    sought: Sought,
    found: Found,
) -> None:
    paths = archive_paths(data, snapshot, [day])
    if not paths:
        return
    events = from_archive_sql(f"read_parquet({sql_list(paths)})")
    values = {"visitor": sought.visitor, "site": sought.site}
    theirs, elsewhere = _two(
        database,
        "SELECT count(*) FILTER ($site IS NULL OR site = $site), count(*) FILTER ($site IS NOT NULL AND site <> $site) "
        f"FROM {events} WHERE visitor = $visitor",
        values,
    )
    if theirs:
        found.days[day] = theirs
    found.other_sites += elsewhere
    if len(sought.visitor) >= MENTION_MIN:
        mentions = " OR ".join(f"contains({column}, $visitor)" for column in FREE_TEXT)
        sql = f"SELECT count(*), 0 FROM {events} WHERE visitor IS DISTINCT FROM $visitor AND ({mentions})"
        found.mentions += _two(database, sql, {"visitor": sought.visitor})[0]


def _two(database: duckdb.DuckDBPyConnection, sql: str, values: dict[str, str | None]) -> tuple[int, int]:
    (first, second) = one_row(database, sql, values)
    return first, second


def _search_quarantine(database: duckdb.DuckDBPyConnection, data: DataDirectory, sought: Sought, found: Found) -> None:
    for path in filter(Path.is_file, list_files(data.quarantine)):
        try:
            traces = traces_in(database, path, sought)
        except (OSError, duckdb.Error):
            found.unreadable.append(path)
            continue
        if traces:
            found.quarantine[path] = traces
        elif path.suffix != ".parquet" and _is_opaque(path):
            found.unreadable.append(path)


def traces_in(database: duckdb.DuckDBPyConnection, path: Path, sought: Sought) -> int:
    """How many records of a file in quarantine/ hold the visitor. Raises OSError or
    duckdb.Error.
    """
    if path.suffix == ".parquet":
        columns = [
            name for (name, *_) in database.execute(f"DESCRIBE FROM read_parquet({sql_list([path])})").fetchall()
        ]
        if "visitor" not in columns:
            return 0  # counters name nobody
        sql = f"SELECT count(*), count(hash(p)) FROM read_parquet({sql_list([path])}) p WHERE visitor = $visitor"
        return _two(database, sql, {"visitor": sought.visitor})[0]
    return sum(is_trace(line, sought) for line in readable_lines(path))


def is_trace(record: bytes, sought: Sought) -> bool:
    """Whether a record of quarantine/ holds the visitor: as it stands there, or in the
    bad line that it keeps as base64.
    """
    with suppress(msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        record = base64.b64decode(msgspec.json.decode(record)["base64"])
    return sought.is_in(record).theirs
