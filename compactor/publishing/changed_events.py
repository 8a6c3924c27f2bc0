"""Which events a publish adds and removes: the difference between the archive parts of
the generation that a store holds and those of a newer one.

Parts that were merged hold the same events, which are not sent again. Where a part of
the old generation is deleted, the day is sent whole. A publish that was cut off has
sent what neither generation names: of those days the store is asked what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compactor.generations.archive import OpenedPart, open_parts, stored_events
from compactor.generations.part_files import COPY_OPTIONS
from compactor.sql import sql_text
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.duckdb_engine import one_row
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Day, Snapshot
from shared.schema import STORED_COLUMNS
from shared.stores.clickhouse.columns import event_columns, hashed_events_sql, place_of_instance
from shared.stores.event_batches import EventBatch, Shipping

if TYPE_CHECKING:
    import duckdb

# An insert of more is not faster, and its file needs room.
BATCH_EVENTS = 500_000
_NO_DAY = Day("")
_CONTENT = f"hash({', '.join(STORED_COLUMNS)})"
_TAB_SEPARATED = "FORMAT csv, DELIMITER '\t', QUOTE '', ESCAPE '', HEADER false, NULLSTR '\\N'"


# Visitors, each with a site, or None for all sites.
LeftOut = Sequence[tuple[str, str | None]]
# Days that were sent, of how many, and their events.
Progress = Callable[[int, int, int], None]


class _Change(NamedTuple):
    """A day that differs. `gone`: parts of the old generation; None where one is
    deleted.
    """

    day: date
    new: list[OpenedPart]
    gone: list[OpenedPart] | None

    @property
    def events(self) -> int:
        return sum(part.rows for part, _ in self.new)


class EventSource(NamedTuple):
    """From `before` to `after`, without the events of visitors that are `left_out`."""

    database: duckdb.DuckDBPyConnection
    data: DataDirectory
    before: Snapshot
    after: Snapshot
    left_out: LeftOut = ()


def changed_events(source: EventSource, shipping: Shipping) -> Iterator[EventBatch]:
    """The days that differ. The files of a batch are there until the next one is asked
    for. Raises PartDamaged for a part of `after`.
    """
    for _, same_month in groupby(changed_days(source, shipping.doubtful), lambda day: (day.year, day.month)):
        batch: list[_Change] = []
        for day in same_month:
            batch.append(_change(source, day, is_doubtful=day in shipping.doubtful))
            if sum(each.events for each in batch) >= BATCH_EVENTS:
                yield from _written(source, shipping, batch)
                batch = []
        if batch:
            yield from _written(source, shipping, batch)


def changed_days(source: EventSource, doubtful: AbstractSet[date]) -> list[date]:
    """An expired archive is no change: what a store still has of it leaves with its
    month.
    """
    before, after = source.before.days, source.after.days
    return [
        day
        for day in sorted({*before, *after, *doubtful})
        if not (new := after.get(day, _NO_DAY)).expired
        and (day in doubtful or before.get(day, _NO_DAY).archive != new.archive)
    ]


def _change(source: EventSource, day: date, *, is_doubtful: bool) -> _Change:
    """Of a doubtful day all parts, for what the store has is compared with them."""
    old, new = (of.days.get(day, _NO_DAY).archive for of in (source.before, source.after))
    kept = () if is_doubtful else tuple(part for part in new if part in old)
    added = open_parts(source.data, "archive", day, [part for part in new if part not in kept])
    try:
        return _Change(day, added, open_parts(source.data, "archive", day, [part for part in old if part not in kept]))
    except PartDamaged:
        return _Change(day, open_parts(source.data, "archive", day, new), None)


def _written(source: EventSource, shipping: Shipping, changes: Sequence[_Change]) -> Iterator[EventBatch]:
    with own_spill(source.data) as scratch:
        files: list[list[Path]] = [[] for _ in range(shipping.shards)]
        removed, events = {}, 0
        for change in changes:
            _find_events(source, shipping, change)
            for shard in range(shipping.shards):
                path = scratch / f"{change.day}-{shard}"
                if written := _write(source, shipping, change.day, shard, path):
                    files[shard].append(path)
                    events += written
            if change.gone is not None and change.day in shipping.doubtful:
                _add_held(source.database, shipping, change.day, scratch / "held.tsv")
            if _may_remove(shipping, change):
                removed[change.day] = _removed(source.database)
        replaced = [change.day for change in changes if change.gone is None]
        yield EventBatch([change.day for change in changes], files, removed, replaced, events)


def _may_remove(shipping: Shipping, change: _Change) -> bool:
    """Whether the store may have events of the day that are not there any more. Most
    days only grow, and the hashes of their events are made once, as they are written.
    """
    return bool(change.gone) or change.day in shipping.doubtful


def _find_events(source: EventSource, shipping: Shipping, change: _Change) -> None:
    """Create `changed_events`, those to send, and where some may have to be removed
    `gone_events`, with all that was in parts which are not there any more.
    """
    database, new = source.database, hashed_events_sql(_kept(stored_events(change.new), source.left_out))
    key = sql_text(shipping.key)
    sent, gone = new, "(SELECT NULL::UBIGINT AS h, NULL::UBIGINT AS content LIMIT 0)"
    if change.gone:
        gone = f"(SELECT h, {_CONTENT} AS content FROM {hashed_events_sql(stored_events(change.gone))})"
        sent = f"(SELECT n.* FROM {new} n ANTI JOIN gone_events g ON n.h = g.h AND {_content_of('n')} = g.content)"
    if _may_remove(shipping, change):
        for name, relation in (("gone_events", gone), ("new_hashes", f"(SELECT h FROM {new})")):
            database.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM {relation}".replace("$key", key))
    database.execute(f"CREATE OR REPLACE TEMP VIEW changed_events AS FROM {sent}".replace("$key", key))


def _add_held(database: duckdb.DuckDBPyConnection, shipping: Shipping, day: date, path: Path) -> None:
    """To the events that are gone, unless they are new, all that the store has."""
    shipping.write_hashes(day, path)
    options = "header = false, auto_detect = false, columns = {'h': 'UBIGINT'}, hive_partitioning = false"
    found = f"read_csv({sql_text(str(path))}, {options})"
    database.execute(f"INSERT INTO gone_events SELECT h, NULL FROM {found}")


def _kept(stored: str, left_out: LeftOut) -> str:
    conditions = [
        f"visitor = {sql_text(visitor)}" + ("" if site is None else f" AND site = {sql_text(site)}")
        for visitor, site in left_out
    ]
    found = " OR ".join(f"({each})" for each in conditions)
    return f"(FROM {stored} WHERE ({found}) IS NOT TRUE)" if found else stored


def _content_of(table: str) -> str:
    return f"hash({', '.join(f'{table}.{name}' for name in STORED_COLUMNS)})"


def _removed(database: duckdb.DuckDBPyConnection) -> list[int]:
    found = database.execute("SELECT DISTINCT h FROM gone_events ANTI JOIN new_hashes USING (h) ORDER BY h").fetchall()
    return [h for (h,) in found]


def _write(source: EventSource, shipping: Shipping, day: date, shard: int, path: Path) -> int:
    """Returns how many."""
    columns = event_columns(escaped=not shipping.is_parquet)
    selected = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    rows = f"SELECT {selected} FROM changed_events WHERE h % {shipping.shards} = {shard}"
    options = COPY_OPTIONS if shipping.is_parquet else _TAB_SEPARATED
    values = {
        "instance": shipping.instance,
        "place": place_of_instance(shipping.instance),
        "day": day,
        "generation": source.after.generation,
    }
    text = f"COPY ({rows}) TO {sql_text(str(path))} ({options})"
    return int(one_row(source.database, text, values)[0])
