"""Hosts of a store, one of which is retired and absorbed by another, and what has to
hold then.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from compactor.absorb.absorb import Done, absorb
from compactor.publishing.publish import compare_store, retire_instance
from compactor.repair.verify import verify
from ingest.collect.encode import Line
from shared.event_ids import make_event_ids
from shared.stores.open_store import open_store
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, line
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost, counted_ids, totals
from tests.builders.stores import queried

DAY_MS = 24 * HOUR_MS
SERVER_IDS = make_event_ids(6, NOON)


def lines(*numbers: int, day: int = 0, **fields: Any) -> list[Line]:
    return [line(f"event-{n:06}", NOON + day * DAY_MS, visitor=f"v{n % 7}", **fields) for n in numbers]


def hosts_of(root: Path, store: str) -> tuple[StoreHost, StoreHost, StoreHost]:
    """One that is gone, one that absorbs it, and another, as `fill` has made them."""
    gone, host, other = (StoreHost(root / name, store) for name in ("gone", "host", "other"))
    return gone, host, other


def fill(root: Path, store: str) -> None:
    """Make them, with events of three days."""
    gone, host, other = hosts_of(root, store)
    gone.receive([*lines(*range(10)), *lines(10, 11, day=-1), *lines(12, 13, day=-2)])
    gone.receive([line(each, NOON, visitor="by-server") for each in SERVER_IDS])
    host.receive([*lines(*range(20, 30)), *lines(30, 31, day=-2)])
    other.receive(lines(*range(40, 45)))
    for each in (gone, host, other):
        each.settle()
    # Each yields an event, also to the one that is gone, and that one to another.
    host.receive(lines(3, 32))
    other.receive(lines(4, 12, 46))
    gone.receive(lines(21, 41, 14))
    for each in (gone, host, other):
        each.settle()


ALL = [*range(15), *range(20, 33), *range(40, 45), 46]


def retired(gone: StoreHost, by: StoreHost) -> UUID:
    instance = UUID(gone.instance)
    retire_instance(by.data, by.settings, open_store(by.settings, by.instance), instance)
    return instance


def absorbed(host: StoreHost, instance: UUID, address: str = "") -> Done:
    through = StoreHost(host.data.root, address or host.settings.store)
    store = open_store(through.settings, host.instance)
    return absorb(host.data, through.settings, store, SilentLog(), instance)


def absorb_unpublished(host: StoreHost, instance: UUID) -> None:
    """As a process that is killed once it has committed, and before it publishes."""
    published = False

    def publishes_once(*_: Any) -> None:
        nonlocal published
        if published:
            raise KeyboardInterrupt
        published = True

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("compactor.absorb.absorb.publish_settled", publishes_once)
        absorbed(host, instance)


def check(tmp_path: Path, hosts: Iterable[StoreHost], numbers: Iterable[int]) -> None:
    """Each event counts once, and each directory and its rows are in order."""
    hosts = list(hosts)
    expected = [*(f"event-{n:06}" for n in numbers), *SERVER_IDS]
    for _ in range(2):
        for host in hosts:
            host.settle()
    assert counted_ids(hosts[0].settings.store, tmp_path) == dict.fromkeys(expected, 1)
    assert sum(totals(host)[0] for host in hosts) == len(expected)
    for host in hosts:
        assert verify(host.data, host.settings, lambda _: None).findings == []
        found: list[str] = []
        compare_store(host.data, host.settings, open_store(host.settings, host.instance), found.append)
        assert found == []


def counted(store: str) -> list[tuple[Any, ...]]:
    """The sums over all hosts, and the visitors of each day."""
    sums = "SELECT site, day, dimension, event, value, bot, sum(events) FROM analytics_counters"
    seen = "SELECT day, site, count(DISTINCT each) FROM analytics_visitors, unnest(visitors) AS each GROUP BY day, site"
    return [
        *queried(store, f"{sums} GROUP BY site, day, dimension, event, value, bot ORDER BY 1, 2, 3, 4, 5, 6"),
        *queried(store, f"{seen} ORDER BY day, site"),
    ]
