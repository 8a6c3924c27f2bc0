"""Copies of an event on both sides of a month's end, where each side is a part of its
own: the one that was received first counts.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from compactor.publishing.changes import SnapshotChanges
from compactor.publishing.instance import instance_id
from ingest.collect.encode import Line
from reports.cluster.cluster_store import ClusterStore
from reports.hosts.asked import Asked
from reports.query import parse
from reports.sql.clickhouse.month_ends import WITHIN_MONTHS, final_settings, month_ends
from shared.generations.snapshot import Snapshot
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.event_batches import EventBatch, Shipping
from shared.stores.ledger import Position
from shared.stores.open_store import open_store
from shared.timestamps import epoch_ms
from tests.builders.clickhouse_kinds import ClickHouses
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, store_settings

pytestmark = pytest.mark.component
HOUR_MS = 3_600_000
END = round(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)


def test_the_copy_received_first_counts(tmp_path: Path, clickhouse_today: ClickHouses, postgres: Server) -> None:
    pick, address, database = random.Random(3), clickhouse_today.database(), postgres.database()
    hosts = {name: data_directory(tmp_path / name) for name in "ab"}
    copies = {name: [_copy(pick, name, n) for n in range(80)] for name in hosts}
    for name, data in hosts.items():
        sealed(data, copies[name])
        fold_all(data, NOON)
        publish(data, store=address, database_url=database)
    first = [min(same, key=lambda each: each.received) for same in zip(*copies.values(), strict=True)]
    assert {_month(each) for each in first} == {10, 11}
    for begin, end in (("2026-10-20", "2026-11-10"), ("2026-11-01", "2026-11-02"), ("2026-10-29", "2026-10-31")):
        asked = parse({"from": begin, "to": end, "interval": "day", "by": "event"}, datetime.now(UTC), "UTC")
        found = ClusterStore(hosts["a"], address).report(Asked(asked, "UTC"))
        days = Counter(each.time[:10] for each in first if begin <= each.time[:10] <= end)
        by_day: Counter[str] = Counter()
        for row in found["rows"]:
            by_day[row["time"][:10]] += row["events"]
        assert (+by_day, found["total"]["events"]) == (days, days.total()), (begin, end)


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (date(2026, 11, 1), date(2026, 11, 30), []),
        (date(2026, 10, 31), date(2026, 11, 1), [date(2026, 11, 1)]),
        (date(2026, 11, 28), date(2027, 2, 1), [date(2026, 12, 1), date(2027, 1, 1), date(2027, 2, 1)]),
    ],
)
def test_ends_of_months_are_those_between_two_days(first: date, last: date, found: list[date]) -> None:
    assert [*month_ends(first, last)] == found


@pytest.mark.parametrize(("answers", "settings"), [([[], []], WITHIN_MONTHS), ([[], [[1]]], {}), ([[[1]]], {})])
def test_months_are_read_apart_where_no_event_has_copies_in_two(
    answers: list[list[list[int]]], settings: dict[str, str]
) -> None:
    start, end = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 12, 20, tzinfo=UTC)
    assert final_settings(lambda _statement, _given: answers.pop(0), "events", start, end) == settings
    assert answers == []


def test_a_host_is_in_the_ledger_before_its_first_rows(tmp_path: Path, clickhouse_today: ClickHouses) -> None:
    """Reports look for copies where the ledger has several hosts."""
    data, address = data_directory(tmp_path / "data"), clickhouse_today.database()
    store = open_store(store_settings(data, store=address), instance_id(data))
    assert isinstance(store, ClickHouseStore)
    found = list[tuple[str, int]]()

    class Changes(SnapshotChanges):
        def __init__(self) -> None:
            """Of nothing."""

        def events(self, shipping: Shipping) -> Iterator[EventBatch]:
            assert isinstance(store, ClickHouseStore)
            found.extend((each.instance, each.generation) for each in store.instances())
            return iter(())

    after = Position(instance_id(data), 1, "sha", Snapshot())
    store.publish(None, after, b"", Changes())
    assert found == [(instance_id(data), 0)]
    held = store.position()
    assert held is not None and held.generation == 1


def _copy(pick: random.Random, host: str, number: int) -> Line:
    """Up to three days apart, around the month's end."""
    at_ms = END + (number - 40) * HOUR_MS + pick.choice([-36, -20, 0, 20, 36]) * HOUR_MS
    return line(f"event-{number}", at_ms, NOON - pick.randrange(HOUR_MS), visitor=host)


def _month(each: Line) -> int:
    return datetime.fromtimestamp(epoch_ms(each.time) / 1000, UTC).month
