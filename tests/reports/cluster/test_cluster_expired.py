"""An expired day of a cluster has no answer, though its rows stay until their month is
deleted; no other day counts them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.cluster.cluster_store import ClusterStore
from reports.hosts.asked import Asked
from reports.query import parse
from reports.rows import Row
from shared.stores.clickhouse.cluster import parse_cluster
from shared.timestamps import epoch_ms
from tests.builders.clickhouse_today import running
from tests.builders.history import history
from tests.builders.logs import fold, line, sealed
from tests.builders.stores import publish

pytestmark = pytest.mark.component
NOW = epoch_ms("2026-11-13T12:00:00Z")


def test_an_expired_day_has_no_answer_and_is_in_no_other(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 3, NOW)  # until 3 November
    with running() as server:
        address = server.database()
        publish(data, store=address)
        sealed(data, [line("new", NOW)])
        fold(data, NOW, archive_retention_days=7)
        publish(data, store=address)
        rows = server.ask(f"SELECT count() FROM {parse_cluster(address).database}.analytics_events FINAL")
        assert rows == "10\n"  # 9 of which have expired

        def ask(first: str, last: str, zone: str = "UTC", **more: str) -> Row:
            asked = {"from": first, "to": last, "tz": zone, **more}
            query = parse(asked, datetime(2026, 11, 13, 12, tzinfo=UTC), "UTC")
            return ClusterStore(data, address).report(Asked(query, "UTC"))

        for span in (("2026-11-01", "2026-11-03"), ("2026-11-03", "2026-11-13")):
            for more in ({}, {"by": "path"}, {"interval": "day"}):
                found = ask(*span, **more)
                assert found["total"] == {"events": None, "visitors": None}
                assert "past its retention" in found["reason"]
        assert ask("2026-11-04", "2026-11-13")["total"] == {"events": 1, "visitors": 1}
        # Midnight there is in the middle of the UTC day before, which has expired.
        assert ask("2026-11-04", "2026-11-13", "Pacific/Auckland")["total"] == {"events": None, "visitors": None}
