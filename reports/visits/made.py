"""The visits of days that no part has, made of the archive when a question needs them,
and kept in a file for the next question about the same events.

The files are in the directory for what exceeds the memory, and go with it. The newest
stay, as far as REMEMBERED_BYTES_MAX goes, and those of the last question.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb

from reports.plan import PartOfDay, Parts
from reports.sql.duckdb.visits import FORGET_DAY, SPILL, create_statements, go_on_statement, kept_copy
from reports.sql.statement import Statement
from reports.visits.days import MADE_DAYS_MAX, MADE_EVENTS_MAX, NOT_MADE, Piece
from shared.duckdb_engine import one_row, one_thread
from shared.sql.texts import TextNumbers
from shared.sql.visits import VisitDay, visits_digest

REMEMBERED_BYTES_MAX = 1 << 30
_ONE = timedelta(days=1)
OpenParts = Callable[[Parts], list[str]]


class TooManyUnmade(Exception):
    """More would have to be made than a question may make."""

    reason = NOT_MADE


class _Visits(NamedTuple):
    """Files with the visits of a day. `reaches`: the digest of those that go on."""

    files: tuple[str, ...]
    reaches: str


@contextmanager
def room_for_visits(database: duckdb.DuckDBPyConnection) -> Iterator[Path]:
    """The directory of the files: one that stays with the database, if it has any."""
    (spill,) = one_row(database, SPILL.text)
    if spill:
        room = Path(spill) / "visits"
        room.mkdir(parents=True, exist_ok=True)
        yield room
        return
    with tempfile.TemporaryDirectory(prefix="foldlog-visits-") as directory:
        yield Path(directory)


class VisitFiles:
    """Files with the visits of days, for one question."""

    def __init__(self, database: duckdb.DuckDBPyConnection, open_parts: OpenParts, room: Path, zone: str) -> None:
        self._database, self._open_parts, self._room, self._zone = database, open_parts, room, zone
        self._unmade_days = self._unmade_events = 0

    def collect(self, pieces: tuple[Piece, ...], before: Mapping[date, Parts]) -> list[str]:
        """The files with the visits that are asked for. Raises TooManyUnmade, and what
        `open_parts` raises.
        """
        known: dict[date, _Visits] = {}
        for piece in pieces:
            earlier = known.get(piece.day - _ONE)
            if piece.made is not None and (earlier is None or earlier.reaches == piece.made.reached):
                known[piece.day] = _Visits(tuple(self._open_parts(piece.sessions)), piece.made.reaches)
            elif earlier is not None:
                known[piece.day] = self._make(piece, earlier.files, earlier.files)
            else:
                went_on = before.get(piece.day, ())
                known[piece.day] = self._make(piece, tuple(self._open_parts(went_on)), _names(went_on))
        forget(self._room, sum((files.files for files in known.values()), ()))
        return [path for piece in pieces if piece.is_asked for path in known[piece.day].files]

    def _make(self, piece: Piece, went_on: tuple[str, ...], named: tuple[str, ...]) -> _Visits:
        self._unmade_days += 1
        self._unmade_events += sum(each.part.rows for each in piece.own)
        if self._unmade_days > MADE_DAYS_MAX or self._unmade_events > MADE_EVENTS_MAX:
            raise TooManyUnmade
        path = self._room / f"{_name(piece, named, self._zone)}.parquet"
        if not path.exists():
            self._write(piece, went_on, path)
        os.utime(path)
        files = (str(path),)
        return _Visits(files, visits_digest(self._one_row(go_on_statement(files, piece.day))))

    def _write(self, piece: Piece, went_on: tuple[str, ...], path: Path) -> None:
        of = VisitDay(piece.day, self._zone, TextNumbers(strong=True))
        beside = path.with_suffix(".part")
        made_of = (of, piece.own, piece.following, went_on)
        for statement in create_statements(*made_of, only_going_on=not piece.is_asked):
            self._run(statement)
        self._run(kept_copy(str(beside)))
        self._run(FORGET_DAY)
        beside.rename(path)

    def _run(self, statement: Statement) -> None:
        paths = {name: self._open_parts(parts) for name, parts in statement.parameters.parts.items()}
        values = statement.parameters.values | paths
        try:
            self._database.execute(statement.text, values)
        except duckdb.OutOfMemoryException:
            with one_thread(self._database):
                self._database.execute(statement.text, values)

    def _one_row(self, statement: Statement) -> tuple[int, int]:
        count, number = one_row(self._database, statement.text, statement.parameters.values)
        return count, number


def forget(room: Path, in_use: Collection[str] = ()) -> None:
    """Delete the files that were used least recently, beyond the bytes that may
    stay.
    """
    found = sorted(room.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    kept_bytes = 0
    for path in found:
        kept_bytes += path.stat().st_size
        if kept_bytes > REMEMBERED_BYTES_MAX and str(path) not in in_use:
            path.unlink(missing_ok=True)


def _name(piece: Piece, went_on: tuple[str, ...], zone: str) -> str:
    """Another name for other events, another zone, or other visits that go on."""
    made_of = (str(piece.day), str(piece.is_asked), zone, *_names(piece.own), *_names(piece.following), "|", *went_on)
    return hashlib.sha256("\n".join(made_of).encode("utf-8")).hexdigest()


def _names(parts: Parts) -> tuple[str, ...]:
    return tuple(_of(each) for each in parts)


def _of(each: PartOfDay) -> str:
    return f"{each.day} {each.part.sha256}"
