"""What is kept of the visitors of an expired day is exact, and has about as many rows
as counters may have, whatever sites and values a client sends.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.generations.load import load_snapshot
from shared.timestamps import utc_day
from tests.builders.archive import assert_verified, counters
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed

DAY_MS = 86_400_000
FLOOD, MAX_VALUES = 2000, 20
SETTINGS: dict[str, Any] = {"sites": ("example.com",), "max_values": MAX_VALUES, "archive_retention_days": 7}
# For all sites or each, and for all, bots or people.
COMBINATIONS = 4


def fold_at(data: DataDirectory, now_ms: int) -> None:
    """As if the compactor had looked all the time until then."""
    set_mark(data.last_pass, now_ms - 60_000)
    fold_all(data, now_ms, **SETTINGS)


def expired_flood(root: Path) -> DataDirectory:
    """A day of a few pages of example.com, and of thousands of unlisted sites, each
    with the page `/` and one of its own.
    """
    data = data_directory(root)
    own = [line(f"own-{n}", url=f"https://example.com/{n % 5}", visitor=f"v-{n % 9}") for n in range(90)]
    flood = [
        line(
            f"flood-{n}-{page}",
            site=f"site-{n}.example.org",
            url=f"https://site-{n}.example.org/{page}",
            visitor=f"flood-{n % 300}",
        )
        for n in range(FLOOD)
        for page in ("", f"page-{n}")
    ]
    sealed(data, [*own, *flood])
    for days in (0, 2, 9):
        fold_at(data, NOON + days * DAY_MS)
    assert load_snapshot(data).days[utc_day(NOON)].expired
    return data


def test_rows_are_bounded_and_exact(tmp_path: Path) -> None:
    data = expired_flood(tmp_path)
    kept = [row for row in counters(data) if row[-1] is not None]
    rows = Counter(dimension for _, _, _, _, dimension, *_ in kept)
    # example.com and all other sites may each have so many, and both have `(other)`.
    assert max(rows.values()) <= COMBINATIONS * 2 * (MAX_VALUES + 2), rows
    visitors = {(dimension, site, value): count for _, site, bot, _, dimension, value, _, count in kept if bot is None}
    assert visitors["total", None, None] == 309
    assert visitors["total", "example.com", None] == 9
    assert visitors["total", "(other)", None] == 300
    assert visitors["site", None, "(other)"] == visitors["site", "(other)", "(other)"] == 300
    assert visitors["path", "example.com", "/3"] == 9
    assert visitors["path", None, "/"] == visitors["path", "(other)", "/"] == 300
    assert visitors["path", None, "(other)"] == visitors["path", "(other)", "(other)"] == 300
    assert_verified(data, **SETTINGS)
