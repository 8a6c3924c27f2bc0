"""A store beside a data directory, and what its rows must say, counted in plain Python
from the events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import compare_store, publish_newest
from shared.disk.layout import DataDirectory
from shared.schema import COUNTED_DIMENSIONS
from shared.settings import Settings
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
