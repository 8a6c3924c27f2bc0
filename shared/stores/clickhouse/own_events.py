"""The events that one instance has on the shards: inserted, deleted, and compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

from shared.generations.snapshot import Snapshot
from shared.lateness import DEDUPE_DAYS
from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.columns import TEXT_COLUMNS, event_columns
from shared.stores.clickhouse.mutations import wait_for_mutations
from shared.stores.clickhouse.tables import FIRST_VERSION
from shared.stores.event_batches import EventBatch

# A list in a statement.
_REMOVED_MAX = 10_000
_BLOCK = 1 << 20


class OwnEvents:
    """Events of `instance` in the table `table` of each of `shards`. For `patience_s` a
    deletion is waited for.
    """

    def __init__(self, shards: Sequence[ClickHouse], table: str, instance: str, patience_s: float) -> None:
        self._shards, self._table, self._patience_s = shards, table, patience_s
        self._own = f"instance = '{UUID(instance)}'"

    @property
    def takes_parquet(self) -> bool:
        """Older servers do not know it, and take a form that costs three times as
        much.
        """
        return all(shard.version >= FIRST_VERSION for shard in self._shards)

    def send(self, batch: EventBatch, generation: int) -> None:
        """Insert what a batch has, and delete what it replaces."""
        form = "Parquet" if self.takes_parquet else "TabSeparated"
        insert = f"INSERT INTO {self._table} ({', '.join(event_columns(escaped=False))}) FORMAT {form}"
        for shard, files in zip(self._shards, batch.files, strict=True):
            for path in files:
                shard.insert(insert, _blocks(path))
        for day, hashes in batch.removed.items():
            for first in range(0, len(hashes), _REMOVED_MAX):
                listed = ", ".join(map(str, hashes[first : first + _REMOVED_MAX]))
                self.delete(f"day = '{day}' AND h IN ({listed})")
        for day in batch.replaced:
            self.delete(f"day = '{day}' AND generation < {generation}")

    def delete(self, condition: str) -> None:
        """Delete rows, and wait until they are gone. Numbers and dates are no text of a
        client. A mutation that never ends gets no others behind it.
        """
        condition = f"{self._own} AND {condition}"
        for shard in self._shards:
            wait_for_mutations(shard, self._table, self._patience_s)
            ((rows,),) = shard.rows(f"SELECT count() FROM {self._table} WHERE {condition}")
            if rows:
                shard.run(f"ALTER TABLE {self._table} DELETE WHERE {condition}")
                wait_for_mutations(shard, self._table, self._patience_s)

    def doubtful_days(self, held: Snapshot) -> set[date]:
        """The days that have rows of later generations than this snapshot, or that it
        does not have.
        """
        published = f"SELECT toString(day), max(generation) FROM {self._table} WHERE {self._own} GROUP BY day"
        found = [(date.fromisoformat(day), last) for shard in self._shards for day, last in shard.rows(published)]
        known = {*held.days, *held.dropped_days}
        return {day for day, last in found if last > held.generation or day not in known}

    def write_hashes(self, utc_day: date, to: Path) -> None:
        """`h` of each event of a day, a line each."""
        with to.open("wb") as file:
            for shard in self._shards:
                file.write(shard.lines(f"SELECT h FROM {self._table} WHERE {self._own} AND day = '{utc_day}'"))

    def write_counted(self, table_of_all: str, utc_day: date, to: Path) -> None:
        """What counts around a day, of all hosts: hash, time, bytes of text, and
        whether it is this instance's of that day.
        """
        own = f"{self._own} AND day = '{utc_day}'"
        first, last = (utc_day + timedelta(days=days) for days in (-DEDUPE_DAYS, DEDUPE_DAYS))
        text_bytes = " + ".join(f"length(ifNull({name}, ''))" for name in TEXT_COLUMNS)
        around = f"day >= '{first}' AND day <= '{last}'"
        sql = f"SELECT h, time_ms, {text_bytes}, {own} FROM {table_of_all} FINAL WHERE {around}"
        to.write_bytes(self._shards[0].lines(sql))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
