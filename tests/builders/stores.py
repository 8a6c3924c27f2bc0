"""A store beside a data directory, and what its rows must say, counted in plain Python
from the events.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import compare_store, publish_newest
from shared.disk.layout import DataDirectory
from shared.schema import COUNTED_DIMENSIONS
from shared.settings import Settings
from shared.stores.address import sqlite_path
from shared.stores.counter_rows import CounterRow
from shared.stores.open_store import open_store
from shared.stores.store import Store
from tests.builders.recount import Counted

# Day, dimension, site, event, value, and whether it is a bot.
Key = tuple[date, str, str | None, str | None, str | None, bool]


def store_settings(data: DataDirectory, **given: object) -> Settings:
    """With a SQLite store beside the directory, unless `store` is given."""
    beside = {"store": f"sqlite:///{data.root.parent / 'analytics.db'}"}
    return Settings(data_dir=data.root, **beside | given)  # type: ignore[arg-type]


def publish(data: DataDirectory, **given: object) -> Store:
    made = store_settings(data, **given)
    store = open_store(made, instance_id(data))
    publish_newest(data, made, store)
    return store


def all_rows(store: Store) -> list[CounterRow]:
    return [row for day in store.days() for row in store.rows(day)]


def wrong(data: DataDirectory, store: Store) -> list[str]:
    """What `foldlog store check` reports."""
    found: list[str] = []
    compare_store(data, store_settings(data), store, found.append)
    return found


def as_total(rows: Iterable[CounterRow]) -> int:
    return sum(row.events for row in rows if row.dimension == "total")


def recount_rows(events: Iterable[Counted], zone: ZoneInfo) -> Counter[Key]:
    """Events of each key, over all UTC days."""
    found: Counter[Key] = Counter()
    for each in events:
        day, site, name = each.time.astimezone(zone).date(), each.values["site"], each.values["event"]
        found[day, "total", site, None, None, each.bot] += 1
        found[day, "event", site, name, None, each.bot] += 1
        for dimension in COUNTED_DIMENSIONS:
            found[day, dimension, site, name, each.values[dimension], each.bot] += 1
    return found


def as_recount(rows: Iterable[CounterRow]) -> Counter[Key]:
    """The rows of a store in the form of a recount."""
    found: Counter[Key] = Counter()
    for row in rows:
        found[row.day, row.dimension, row.site, row.event, row.value, row.bot] += row.events
    return found


def recount_summary(events: Iterable[Counted], zone: ZoneInfo) -> dict[tuple[str | None, date], tuple[int, int]]:
    """Events and visitors of each site and day, without bots."""
    counts: Counter[tuple[str | None, date]] = Counter()
    visitors: dict[tuple[str | None, date], set[str]] = defaultdict(set)
    for each in events:
        if not each.bot:
            place = (each.values["site"], each.time.astimezone(zone).date())
            counts[place] += 1
            visitors[place].update([each.visitor] if each.visitor else [])
    return {place: (count, len(visitors[place])) for place, count in counts.items()}


def summary(address: str, view: str = "analytics_summary") -> dict[tuple[str | None, date], tuple[int, int | None]]:
    """The same as a store has it."""
    sql = f"SELECT site, CAST(day AS text), events, visitors FROM {view}"
    return {
        (site, date.fromisoformat(day)): (events, visitors) for site, day, events, visitors in queried(address, sql)
    }


def queried(address: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query, as another tool would ask for them."""
    if path := sqlite_path(address):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()
    with psycopg.connect(address) as connection:
        return connection.execute(sql.encode()).fetchall()


def executed(address: str, sql: str) -> list[tuple[Any, ...]]:
    """What a statement of another session to PostgreSQL returns, which commits it."""
    with psycopg.connect(address, autocommit=True) as connection:
        found = connection.execute(sql.encode())
        return found.fetchall() if found.description else []
