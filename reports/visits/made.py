"""The visits of days that no part has, made of the archive when a question needs them,
and kept in files for the next question about the same events.

A day is read once, whatever comes to the next one: its visits as far as it goes, and
pieces of those that began on the day before (shared/sql/visits.py). What may go on from
a day that is not asked for is found backwards: of each day before only the events that
the later ones do not settle.

The files are in the directory for what exceeds the memory, and go with it. Those of the
last question stay, and of others the newest, as far as REMEMBERED_BYTES_MAX and the
reserve of the disk allow (P10).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb

from reports.plan import PartOfDay, Parts
from reports.sql.duckdb.visits import (
    SPILL,
    VisitReads,
    copy_of,
    count_unsure,
    day_statements,
    files_sql,
    forget_tables,
    go_on_statement,
    going_on_statement,
    keep_as,
    numbers_of,
    rows_of_day,
)
from reports.sql.statement import Statement
from reports.visits.days import MADE_DAYS_MAX, MADE_EVENTS_MAX, NO_ROOM, NOT_MADE, VisitPlan
from shared.duckdb_engine import bytes_kept_free, one_number, one_row, one_thread
from shared.sql.texts import TextNumbers
from shared.sql.visits import VisitDay, sums_sql, visits_digest

REMEMBERED_BYTES_MAX = 1 << 30
_ONE = timedelta(days=1)
OpenParts = Callable[[Parts], list[str]]
# Writes rows to a file of that suffix, of about so many bytes.
_WriteRows = Callable[[str, str, int], None]
_Write = Callable[[_WriteRows], None]
_TABLES = ("visits_of_day", "visits_found", "tied_rows", "visits_placed", "visits_carried")


class VisitsNotMade(Exception):
    """There is no answer. `reason`: what the answer says instead."""

    reason = ""


class TooManyUnmade(VisitsNotMade):
    """More would have to be made than a question may make."""

    reason = NOT_MADE


class NoRoomForVisits(VisitsNotMade):
    """What would have to be made would take the reserve of the disk."""

    reason = NO_ROOM


class _Carried(NamedTuple):
    """Visits of a day as far as it goes. `names`: of what they were made."""

    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class _DayFiles(NamedTuple):
    """Visits that begin on a day as far as it goes, and pieces of those before."""

    begun: str
    pieces: str


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

    def __init__(
        self, database: duckdb.DuckDBPyConnection, open_parts: OpenParts, room: Path, zone: str, plan: VisitPlan
    ) -> None:
        self._database, self._open_parts, self._zone = database, open_parts, zone
        self._plan, self._days = plan, plan.days
        self._files = _Remembered(room, bytes_kept_free(database), self._run)
        self._numbers = TextNumbers(strong=True)
        self._made: dict[date, _DayFiles] = {}
        self._sound: dict[date, bool] = {}
        self._tables = set(_TABLES)

    def collect(self) -> VisitReads:
        """What the plan asks for. Raises VisitsNotMade and what `open_parts` raises."""
        reads = VisitReads()
        try:
            for day in self._plan.asked:
                reads = reads.with_reads(self._read(day))
        finally:
            if self._files.has_written:
                self._run_all(forget_tables(sorted(self._tables)))
        return reads

    def forget(self) -> None:
        """Once the question is answered: delete what is not remembered."""
        self._files.forget()

    def _read(self, day: date) -> VisitReads:
        is_summed = day in self._plan.summed
        if self._days.state(day) == "kept" or self._is_sound(day):
            if is_summed:
                return VisitReads(sums=self._days.sums(day))
            return VisitReads(files=tuple(self._open_parts(self._days.sessions(day))))
        whole = self._whole(day)
        if not is_summed:
            return VisitReads(files=(whole,))
        return VisitReads(sum_files=(self._files.path(("sums", whole), self._write_sums(whole)),))

    def _whole(self, day: date) -> str:
        """The visits that begin on a day, with what the next one has of them."""
        begun, following = self._make(day).begun, day + _ONE
        if not self._days.events(following):
            return begun
        if following in self._plan.asked and self._days.state(following) == "open":
            pieces = self._make(following).pieces
        else:
            pieces = self._pieces(following, _Carried((begun,), (begun,)))
        rows = self._of(following).extended_sql(files_sql([begun]), files_sql([pieces]))
        return self._files.path(
            ("whole", begun, pieces), lambda write: write("", rows, _bytes_of(begun) + _bytes_of(pieces))
        )

    def _make(self, day: date) -> _DayFiles:
        """What the events of a day say, which is not made or does not hold."""
        if day not in self._made:
            carried, own = self._carried(day), self._days.events(day)
            named = ("day", str(day), self._zone, *_names(own), "|", *carried.names)
            size = sum(each.part.bytes for each in own)

            def write(write_rows: _WriteRows) -> None:
                self._run_all(day_statements(self._of(day), own, _sql_of(carried)))
                write_rows(".pieces", rows_of_day(f"begun_at < DATE '{day}'"), size)
                write_rows("", rows_of_day(f"begun_at >= DATE '{day}'"), size)

            begun = self._files.path(named, write, ".pieces")
            self._made[day] = _DayFiles(begun, self._files.beside(begun, ".pieces"))
        return self._made[day]

    def _pieces(self, day: date, carried: _Carried) -> str:
        """What a day has of visits that began on the day before."""
        own, of = self._days.events(day), self._of(day)
        named = ("pieces", str(day), self._zone, *_names(own), "|", *carried.names)

        def write(write_rows: _WriteRows) -> None:
            before = _sql_of(carried)
            among = of.carried_sql(before) if before else ""
            self._run_all(day_statements(of, own, before, among))
            write_rows("", rows_of_day(f"begun_at < DATE '{day}'"), sum(each.part.bytes for each in own))

        return self._files.path(named, write)

    def _carried(self, day: date) -> _Carried:
        """Visits of the day before, of which some may go on on this one."""
        before = day - _ONE
        if self._days.state(before) not in ("made", "open"):
            return _Carried()
        if self._is_sound(before):
            return self._of_parts(before)
        if before in self._plan.asked:
            begun = self._make(before).begun
            return _Carried((begun,), (begun,))
        return self._found_backwards(day)

    def _of_parts(self, day: date) -> _Carried:
        parts = self._days.sessions(day)
        return _Carried(tuple(self._open_parts(parts)), _names(parts))

    def _is_sound(self, day: date) -> bool:
        """Whether the visits of a day are made and hold: whether those go on from the
        day before that went on when they were made. Days before may have late events.
        """
        if self._days.made(day) is None:
            return False
        if day not in self._sound:
            before = self._days.open_before(day)
            each = before + _ONE if before else day
            while before and each < day and not self._reaches_as_made(each):
                each += _ONE
            self._sound[day] = before is None or each < day or self._reaches_as_made(day)
        return self._sound[day]

    def _reaches_as_made(self, day: date) -> bool:
        """Whether what goes on from the day before, which is open or does not hold, is
        what this one was made of.
        """
        made = self._days.made(day)
        begun = self._found_backwards(day)
        if made is None or not begun.files:
            return made is not None and not made.reached
        pieces = self._pieces(day, begun)
        visits = f"({self._of(day).extended_sql(files_sql(begun.files), files_sql([pieces]))})"
        statement = go_on_statement(visits, day - _ONE)
        count, number = one_row(self._database, statement.text, statement.parameters.values)
        return visits_digest((count, number)) == made.reached

    def _found_backwards(self, day: date) -> _Carried:
        """Visits of the day before that may go on on this one, of the archive alone.
        Reads of the days before what these depend on.
        """
        reach, last = self._days_before(day)
        end = self._of_parts(last) if last else _Carried()
        named = ("before", str(day), self._zone, *(n for each in reach for n in _names(self._days.events(each))))

        def write(write_rows: _WriteRows) -> None:
            size = sum(each.part.bytes for each in self._days.events(day - _ONE))
            self._trace(reach, end)
            write_rows("", rows_of_day(f"begun_at >= DATE '{day - _ONE}'"), size)

        path = self._files.path((*named, "|", *end.names), write)
        return _Carried((path,), (path,))

    def _days_before(self, day: date) -> tuple[list[date], date | None]:
        """Days before, newest first, on which events are that may be of visits of this
        one; and the last one before them, if its visits are made and hold.
        """
        found: list[date] = []
        each = day - _ONE
        while self._days.state(each) in ("made", "open") and len(found) <= MADE_DAYS_MAX:
            if self._days.state(each) == "made" and self._days.open_before(each) is None:
                return found, each
            found.append(each)
            each -= _ONE
        return found, None

    def _trace(self, reach: list[date], end: _Carried) -> None:
        """Make `visits_of_day` of what may go on from the first of these days."""
        tables: list[str] = []
        among, events = "", 0
        for each in reach:
            events += self._days.count_events(each)
            if len(tables) >= MADE_DAYS_MAX or events > MADE_EVENTS_MAX:
                raise TooManyUnmade
            tables.append(f"going_on_{len(tables)}")
            self._tables.add(tables[-1])
            of = self._of(each + _ONE)
            self._run(going_on_statement(of, self._days.events(each), tables[-1], among))
            among = numbers_of(tables[-1], only_unsure=True)
            if not one_number(self._database, count_unsure(tables[-1]).text):
                break
        carried = _sql_of(end) if len(tables) == len(reach) else None
        for each, table in reversed(list(zip(reach, tables, strict=False))):
            own = self._days.events(each)
            self._run_all(day_statements(self._of(each), own, carried, numbers_of(table)))
            begun = rows_of_day(f"begun_at >= DATE '{each}'")
            self._run(keep_as("visits_carried", begun))
            carried = "visits_carried"

    def _write_sums(self, whole: str) -> Callable[[_WriteRows], None]:
        # No site is left out, so that these are read for any.
        rows = sums_sql(files_sql([whole]), rows_max=1 << 62)
        return lambda write: write("", rows, _bytes_of(whole))

    def _of(self, day: date) -> VisitDay:
        return VisitDay(day, self._zone, self._numbers)

    def _run_all(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            self._run(statement)

    def _run(self, statement: Statement) -> None:
        paths = {name: self._open_parts(parts) for name, parts in statement.parameters.parts.items()}
        values = statement.parameters.values | paths
        try:
            self._database.execute(statement.text, values)
        except duckdb.OutOfMemoryException:
            with one_thread(self._database):
                self._database.execute(statement.text, values)


class _Remembered:
    """Files of a room by what they were made of. `kept_free`: bytes that they leave."""

    def __init__(self, room: Path, kept_free: int, run: Callable[[Statement], None]) -> None:
        self._room, self._kept_free, self._run = room, kept_free, run
        self._in_use: set[Path] = set()
        self.has_written = False

    def path(self, named: tuple[str, ...], write: _Write, beside: str = "") -> str:
        """The path of the file of this name, and of the one beside it, which `write`
        writes first, if they are not there. Raises NoRoomForVisits.
        """
        name = hashlib.sha256("\n".join(named).encode("utf-8")).hexdigest()
        path = self._room / f"{name}.parquet"
        files = {path, Path(self.beside(str(path), beside))}
        self._in_use |= files
        if not all(each.exists() for each in files):
            self.has_written = True
            write(lambda suffix, rows, size: self._write(Path(self.beside(str(path), suffix)), rows, size))
        for each in files:
            os.utime(each)
        return str(path)

    def beside(self, path: str, suffix: str) -> str:
        return path.removesuffix(".parquet") + suffix + ".parquet"

    def _write(self, path: Path, rows: str, size: int) -> None:
        while self._free_bytes() < size:
            unused = [each for each in self._newest_first() if each not in self._in_use]
            if not unused:
                raise NoRoomForVisits
            unused[-1].unlink(missing_ok=True)
        new = path.with_suffix(".part")
        self._run(copy_of(rows, str(new)))
        new.rename(path)

    def forget(self) -> None:
        """Delete the files that were used least recently, beyond the bytes that may
        stay, and where the disk has no room for them.
        """
        kept_bytes = 0
        for path in self._newest_first():
            kept_bytes += path.stat().st_size
            if kept_bytes > REMEMBERED_BYTES_MAX and path not in self._in_use:
                path.unlink(missing_ok=True)
        for path in reversed(self._newest_first()):
            if self._free_bytes() < 0:
                path.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self._room.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def _free_bytes(self) -> int:
        found = os.statvfs(self._room)
        return found.f_bavail * found.f_frsize - self._kept_free


def _sql_of(carried: _Carried) -> str | None:
    return files_sql(carried.files) if carried.files else None


def _bytes_of(path: str) -> int:
    return Path(path).stat().st_size


def _names(parts: Parts) -> tuple[str, ...]:
    return tuple(_of(each) for each in parts)


def _of(each: PartOfDay) -> str:
    return f"{each.day} {each.part.sha256}"
