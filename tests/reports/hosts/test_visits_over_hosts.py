"""Visits over all hosts of a store: of a visitor who was on several of them they are
one, and days that one host has alone come from its parts.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reports.hosts.asked import Asked, TimezonesDiffer
from reports.hosts.hosts_store import hosts_store
from reports.query import parse
from reports.report import report_of
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.timestamps import utc_day
from tests.builders.hosts import publish_as
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.postgres import Server
from tests.builders.questions import DAY_MS

pytestmark = pytest.mark.component

MINUTE_MS = 60_000
NOW = datetime(2026, 12, 1, tzinfo=UTC)
# Of one host alone, and its visits are made.
OLD = NOON - 10 * DAY_MS


def make_host(root: Path, host: int) -> DataDirectory:
    data = data_directory(root / str(host))
    minutes = {0: (0, 20, 40), 1: (10, 30, 45)}[host]
    lines = [line(f"host-{host}-{at:02}", NOON + at * MINUTE_MS, visitor="ann") for at in minutes]
    lines.append(line(f"host-{host}-other", NOON, visitor=f"only-{host}"))
    if host == 0:
        lines += [line(f"old-{number:02}", OLD + number * MINUTE_MS, visitor="bob") for number in range(2)]
    sealed(data, lines)
    fold(data, NOON + 50 * MINUTE_MS)
    for number in range(8):
        fold(data, NOON + 3 * DAY_MS + number)
    return data


def test_visitor_of_two_hosts_has_one_visit(server: Server, tmp_path: Path) -> None:
    with ExitStack() as closing:
        address = server.database()
        directories = [make_host(tmp_path, host) for host in (0, 1)]
        for host, data in enumerate(directories):
            publish_as(f"web-{host}", data, address)
        assert load_snapshot(directories[0]).days[utc_day(OLD)].visits
        store = closing.enter_context(hosts_store(directories[0], address, 1 << 30, 0))
        database = closing.enter_context(connect(256 << 20, 1))

        def ask(zone: str = "UTC", **parameters: str) -> dict[str, Any]:
            query = parse({"measures": "visits,visit_duration,bounce_rate", **parameters}, NOW, zone)
            return store.read(Asked(query, zone), lambda source: report_of(database, source, query))

        first, last = str(utc_day(OLD)), str(utc_day(NOON) + timedelta(days=1))
        report = ask(**{"from": first, "to": last})
        assert report["total"] == {"visits": 4, "visit_duration": round((45 + 1) * 60 / 4, 3), "bounce_rate": 0.5}
        assert ask(**{"from": first, "to": last, "by": "entry"})["rows"][0]["visits"] == 4
        with pytest.raises(TimezonesDiffer):
            ask("Europe/Berlin", **{"from": first, "to": last})
