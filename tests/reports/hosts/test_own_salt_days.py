"""An answer names the hosts that hashed visitors with a salt of their own on a day that
it touches.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reports.hosts.ledger import Host, Ledger, OwnSaltDay
from reports.hosts.listed import listed
from reports.query import parse
from shared.generations.snapshot import Snapshot
from shared.stores.postgres.connection import connected
from tests.builders.hosts import publish_as
from tests.builders.logs import NOON, data_directory, fold, line, sealed

NOW = datetime(2026, 12, 1, tzinfo=UTC)
DAY = date(2026, 11, 22)
# The same day in two zones.
UTC_DAY = OwnSaltDay(DAY, datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
TOKYO = OwnSaltDay(DAY, datetime(2026, 11, 21, 15, tzinfo=UTC), datetime(2026, 11, 22, 15, tzinfo=UTC))

# The day of a host, from and to of a question in UTC, and whether the host is named.
SPANS: dict[str, tuple[OwnSaltDay, dict[str, str], bool]] = {
    "the day": (UTC_DAY, {"from": "2026-11-22", "to": "2026-11-22"}, True),
    "days around it": (UTC_DAY, {"from": "2026-11-01", "to": "2026-11-30"}, True),
    "the day after": (UTC_DAY, {"from": "2026-11-23", "to": "2026-11-23"}, False),
    "the last moment": (UTC_DAY, {"from": "2026-11-22T23:59:00Z", "to": "2026-11-23T00:00:00Z"}, True),
    "late events of the day before": (UTC_DAY, {"from": "2026-11-21", "to": "2026-11-21"}, True),
    "late events of three days before": (UTC_DAY, {"from": "2026-11-19", "to": "2026-11-19"}, True),
    "events that would be too late": (UTC_DAY, {"from": "2026-11-18", "to": "2026-11-18"}, False),
    "after the day of Tokyo": (TOKYO, {"from": "2026-11-22T15:00:00Z", "to": "2026-11-22T16:00:00Z"}, False),
    "in the day of Tokyo": (TOKYO, {"from": "2026-11-22T14:00:00Z", "to": "2026-11-22T15:00:00Z"}, True),
}


@pytest.mark.parametrize(("day", "asked", "named"), SPANS.values(), ids=SPANS)
def test_host_is_named_where_a_question_touches_its_day(day: OwnSaltDay, asked: dict[str, str], named: bool) -> None:
    host = Host("one", "web-1", "UTC", 1, "sha", False, 0.0, Snapshot(), (day,))
    (row,) = listed([host], parse(asked, NOW, "UTC"))
    assert row["own_salt_days"] == (["2026-11-22"] if named else [])


def published(root: Path, address: str) -> str:
    data = data_directory(root)
    sealed(data, [line("event-1", NOON)])
    fold(data, NOON)
    return publish_as("web-1", data, address)


def own_days(address: str) -> dict[str, Any]:
    with connected(address) as connection:
        return {host.name: host.own_salt_days for host in Ledger().read(connection)}


@pytest.mark.component
def test_ledger_has_the_days_of_each_host(tmp_path: Path, address: str) -> None:
    instance = published(tmp_path, address)
    assert own_days(address) == {"web-1": ()}
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("INSERT INTO analytics_own_salts VALUES (%s, %s, %s, %s)", (instance, *UTC_DAY))
    assert own_days(address) == {"web-1": (UTC_DAY,)}


@pytest.mark.component
def test_hosts_of_a_store_without_the_table_are_known(tmp_path: Path, address: str) -> None:
    published(tmp_path, address)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE analytics_own_salts")
    assert own_days(address) == {"web-1": ()}
