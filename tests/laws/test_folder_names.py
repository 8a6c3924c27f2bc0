"""A data directory below any folder is read as it was written: `env=prod` and `[1]` are
names, neither a partition nor a pattern.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.query import parse
from reports.report import make_report
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.archive import assert_verified
from tests.builders.logs import NOON, data_directory, fold, line, sealed

FOLDERS = ["env=prod", "site=evil", "name=x/path=y/bot=true/time=2026-01-01", "we[1]rd *? {a,b}", "it's", "ünï"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_events_are_those_that_were_sent(tmp_path: Path, folder: str) -> None:
    above = tmp_path / folder
    above.mkdir(parents=True)
    data = data_directory(above)
    sealed(data, [line("event-1"), line("event-2", name="other", site="shop.example")])
    fold(data)
    sealed(data, [line("event-1"), line("event-3")])
    fold(data)
    assert load_snapshot(data).totals.counted == 3
    assert_verified(data)
    now = datetime.fromtimestamp(NOON / 1000, UTC)
    query = parse({"by": "site", "from": str(now.date()), "to": str(now.date())}, now, "UTC")
    with connect(256 << 20, 1) as database:
        report = make_report(database, data, load_snapshot(data), query)
    assert {row["value"]: row["events"] for row in report["rows"]} == {"example.com": 2, "shop.example": 1}
