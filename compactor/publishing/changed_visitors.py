"""Which visitors a publish adds: those of the newer generation's parts of a UTC day
that the store does not have by the older one's.

A day that has lost a visitor, by an erasure, is published whole; so is one of which
parts of the old generation are deleted, or that was merged meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from compactor.generations.archive import open_parts, stored_events
from compactor.publishing.calendar_day import calendar_day
from compactor.publishing.visitors_of_day import expired_rows, shown_site
from compactor.sql import count_rows, run_script, sql_file
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import OTHER, SITE
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Day, Part, Snapshot
from shared.sql.texts import TextNumbers
from shared.stores.visitor_rows import DayVisitors, VisitorDigest, VisitorRow

if TYPE_CHECKING:
    import duckdb

_NO_DAY = Day("")
PAGE_HASHES = 50_000


class _Reader(NamedTuple):
    """`key`: hex digits that each hash begins with."""

    database: duckdb.DuckDBPyConnection
    data: DataDirectory
    key: str


def changed_visitors(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, before: Snapshot, after: Snapshot, key: bytes
) -> Iterator[DayVisitors]:
    """The visitors of each UTC day that differs. Read the pages of one before the next.
    Raises PartDamaged for a part of `after`.
    """
    reader = _Reader(database, data, key.hex())
    for day in sorted({*before.days, *after.days}):
        old, new = before.days.get(day, _NO_DAY), after.days.get(day, _NO_DAY)
        if _is_whole(old, new):
            yield DayVisitors(day, _whole_day(reader, day, new), whole=True)
        elif old.archive != new.archive and not new.expired:
            yield _changed_day(reader, day, old, new)


def visitor_digests(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, kept: Day, key: bytes
) -> set[VisitorDigest]:
    """What a store should have of a day. Raises PartDamaged."""
    reader = _Reader(database, data, key.hex())
    if kept.expired:
        rows = expired_rows(database, data, day, kept)
        return {VisitorDigest(row.day, row.site, 0, None, row.expired) for row in rows}
    _find(reader, day, kept, kept.archive, ())
    digest = "count(*), md5(string_agg(hash, ',' ORDER BY hash))"
    sql = f"SELECT day, min(site), {digest} FROM new_visitors GROUP BY day, site_number"
    found = database.execute(sql).fetchall()
    return {VisitorDigest(local, site, hashes, md5, None) for local, site, hashes, md5 in found}


def _is_whole(old: Day, new: Day) -> bool:
    if (old.zone, old.expired) != (new.zone, new.expired) or (SITE in old.capped) != (SITE in new.capped):
        return True
    if new.expired:
        return old.counters != new.counters
    return new.merged and not old.merged


def _changed_day(reader: _Reader, day: date, old: Day, new: Day) -> DayVisitors:
    added = [part for part in new.archive if part not in old.archive]
    gone = [part for part in old.archive if part not in new.archive]
    try:
        if gone and _find(reader, day, new, gone, new.archive):
            return DayVisitors(day, _whole_day(reader, day, new), whole=True)
        _find(reader, day, new, added, old.archive)
    except PartDamaged:
        return DayVisitors(day, _whole_day(reader, day, new), whole=True)
    return DayVisitors(day, _pages(reader.database), whole=False)


def _whole_day(reader: _Reader, day: date, kept: Day) -> Iterator[list[VisitorRow]]:
    if kept.expired:
        yield expired_rows(reader.database, reader.data, day, kept)
    else:
        _find(reader, day, kept, kept.archive, ())
        yield from _pages(reader.database)


def _find(reader: _Reader, day: date, kept: Day, sought: Sequence[Part], others: Sequence[Part]) -> int:
    """Make `new_visitors`. Returns how many there are. Raises PartDamaged."""
    strong, fast = TextNumbers(strong=True), TextNumbers(keyed=True)
    text = sql_file(
        __file__,
        "new_visitors.sql",
        sought=stored_events(open_parts(reader.data, "archive", day, sought)),
        others=stored_events(open_parts(reader.data, "archive", day, others)),
        day=calendar_day(day, kept.zone),
        site=shown_site(reader.data, day, kept, strong),
        visitor_number=strong.number("visitor"),
        prefilter=fast.number("visitor"),
    )
    run_script(reader.database, text, {"key": reader.key, "other": OTHER})
    return count_rows(reader.database, "new_visitors")


def _pages(database: duckdb.DuckDBPyConnection) -> Iterator[list[VisitorRow]]:
    page = (
        "SELECT day, min(site), string_agg(hash, ',' ORDER BY hash) FROM new_visitors "
        "WHERE rowid >= $first AND rowid < $first + $rows GROUP BY day, site_number"
    )
    for first in range(0, count_rows(database, "new_visitors"), PAGE_HASHES):
        found = database.execute(page, {"first": first, "rows": PAGE_HASHES}).fetchall()
        yield [VisitorRow(*row) for row in found]
