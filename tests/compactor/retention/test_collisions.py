"""Sites of one hash value: which of them have rows of their own, and what a day whose
archive has expired keeps of them, is what it would be of any other sites.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.timestamps import utc_day
from tests.builders.archive import assert_verified
from tests.builders.collisions import colliding, random_texts
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.statements import recorded

DAY_MS = 86_400_000
KEPT, MAX_VALUES = 60, 100
SETTINGS: dict[str, Any] = {"sites": ("example.com",), "max_values": MAX_VALUES, "archive_retention_days": 7}


def fold(data: DataDirectory, now_ms: int, sites: list[str], name: str) -> None:
    """Fold an event of NOON on each of these sites, as if the compactor had looked all
    the time until now.
    """
    set_mark(data.last_pass, now_ms - 60_000)
    if sites:
        sealed(data, [line(f"{name}-{n:06d}", NOON, visitor=f"v-{n % 7}", site=site) for n, site in enumerate(sites)])
    fold_all(data, now_ms, **SETTINGS)


def by_site(data: DataDirectory) -> dict[str, tuple[int, int]]:
    """Events and visitors of each site."""
    asked = {"from": "2026-11-22", "to": "2026-11-22", "by": "site", "limit": "1000"}
    with connect(256 << 20, 1) as database:
        report = make_report(
            database, data, load_snapshot(data), parse(asked, datetime(2026, 12, 9, tzinfo=UTC), "UTC")
        )
    return {row["value"]: (row["events"], row["visitors"]) for row in report["rows"]}


@pytest.mark.long
@pytest.mark.parametrize("is_random", [False, True], ids=["one hash value", "random"])
def test_sites_of_an_expired_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_random: bool) -> None:
    texts = colliding(400, lower_case=True)
    sites = random_texts(texts, beginning=0) if is_random else texts
    with recorded(monkeypatch) as statements:
        assert_sites_are_exact(data_directory(tmp_path), sites)
    assert {found for each in statements for found in each.texts_of_clients()} == set()


def assert_sites_are_exact(data: DataDirectory, sites: list[str]) -> None:
    first = [*sites, *sites[:KEPT], *sites[:KEPT], "example.com"]
    fold(data, NOON, first, "first")
    fold(data, NOON + 2 * DAY_MS, [], "merge")
    assert load_snapshot(data).days[utc_day(NOON)].capped == ("site",)
    assert_verified(data, **SETTINGS)
    fold(data, NOON + 9 * DAY_MS, [], "expiry")
    assert load_snapshot(data).days[utc_day(NOON)].expired
    late = [*sites[:KEPT], *sites[-KEPT:], *(f"{n}.example.org" for n in range(20 * MAX_VALUES)), "example.com"]
    fold(data, NOON + 9 * DAY_MS + 1, late, "late")
    assert_verified(data, **SETTINGS)
    kept = {*sites[:KEPT], "example.com"}
    events = Counter(site if site in kept else "(other)" for site in (*first, *late))
    visitors: dict[str, set[int]] = {}
    for number, site in enumerate(first):
        visitors.setdefault(site if site in kept else "(other)", set()).add(number % 7)
    assert by_site(data) == {site: (count, len(visitors[site])) for site, count in events.items()}
