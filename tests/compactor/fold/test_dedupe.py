"""P6 and P7: any split of the same segments into passes, in any order of writers, with
any duplicates, gives the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.sql.archive_events import from_archive_sql
from tests.builders.archive import HOUR_MS, archived, assert_verified
from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold, line, sealed


def test_first_received_copy_counts_even_when_it_is_folded_later(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", NOON, NOON + 5000, url="https://example.com/late")], "0")
    fold(data)
    sealed(data, [line("event-1", NOON - 24 * HOUR_MS, NOON, url="https://example.com/early")], "1")
    fold(data)
    assert [row[15] for row in archived(data)] == ["/early"]
    totals = load_snapshot(data).totals
    assert (totals.lines, totals.counted, totals.duplicates, totals.conflicts) == (2, 1, 1, 1)
    assert_verified(data)


@pytest.mark.parametrize("days_later", [0, 1, 2, 3])
def test_retry_within_the_lateness_counts_once(tmp_path: Path, days_later: int) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", NOON)])
    fold(data)
    later = NOON + days_later * 24 * HOUR_MS
    sealed(data, [line("event-1", later)])
    fold(data, later)
    assert load_snapshot(data).totals.counted == 1


def test_same_id_on_two_sites_counts_twice(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-1", site="example.org")])
    fold(data)
    assert load_snapshot(data).totals.counted == 2


DERIVED: dict[str, tuple[dict[str, Any], str, object]] = {
    "path": ({"url": "https://example.com/a/b?c=d#e"}, "path", "/a/b"),
    "path of a bare host": ({"url": "https://example.com"}, "path", "/"),
    "path of a bare query": ({"url": "https://example.com?x=1"}, "path", "/"),
    "path that holds a url": ({"url": "https://example.com/go/http://a.org/x"}, "path", "/go/http://a.org/x"),
    "no url": ({}, "path", None),
    "referrer host": ({"referrer": "https://user@Www.Google.COM:443/search?q=1"}, "referrer", "www.google.com"),
    "own site": ({"referrer": "https://example.com/x"}, "referrer", None),
    "own site with www": ({"referrer": "https://www.example.com/x"}, "referrer", None),
    "utm decoded": (
        {"url": "https://example.com/?a=1&utm_campaign=Black%20Friday+now"},
        "utm_campaign",
        "Black Friday now",
    ),
    "utm that is not UTF-8": ({"url": "https://example.com/?utm_source=%ff"}, "utm_source", "%ff"),
    "utm cut short": ({"url": "https://example.com/?utm_source=a%e2%82"}, "utm_source", "a%e2%82"),
    "utm with a lone percent sign": ({"url": "https://example.com/?utm_source=100%"}, "utm_source", "100%"),
    "utm in a path": ({"url": "https://example.com/a&utm_source=x"}, "utm_source", None),
    "utm in the fragment": ({"url": "https://example.com/#utm_source=x"}, "utm_source", None),
    "empty utm": ({"url": "https://example.com/?utm_source=&utm_medium=mail"}, "utm_source", None),
    "browser": ({}, "browser", "Firefox"),
    "system": ({}, "os", "Linux"),
    "device": ({}, "device", "desktop"),
    "bot": ({"ua": GOOGLEBOT}, "bot", True),
    "no user agent is no bot": ({"ua": None}, "bot", False),
}


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part with an event for each row, in its order."""
    data = data_directory(tmp_path_factory.mktemp("derived"))
    sealed(data, [line(f"event-{number:03d}", **fields) for number, (fields, _, _) in enumerate(DERIVED.values())])
    fold(data)
    return next(data.archive.glob("*/*.parquet"))


@pytest.mark.parametrize("row", DERIVED)
def test_what_is_derived_at_fold(derived: Path, row: str) -> None:
    _, column, expected = DERIVED[row]
    id_ = f"event-{[*DERIVED].index(row):03d}"
    with connect(128 << 20, 1) as database:
        query = f"SELECT {column} FROM {from_archive_sql('read_parquet($1)')} WHERE id = $2"
        assert database.execute(query, [[str(derived)], id_]).fetchall() == [(expected,)]


@pytest.mark.long
def test_many_passes_leave_few_parts(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(30):
        sealed(data, [line(f"event-{number:03d}")])
        fold(data)
    (day,) = load_snapshot(data).days.values()
    assert len(day.archive) <= 14
    assert load_snapshot(data).totals.counted == 30
    assert_verified(data)


def test_hostile_values_are_only_values(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    hostile = "x'; DROP TABLE incoming; --"
    props = {"__proto__": "1", "crc": "00000000", "\u202e": "\u009b\x7f", "nul": "a\x00b"}
    sealed(data, [line("event-1", name=hostile, visitor=hostile, props=props, url=f"https://example.com/{hostile}")])
    fold(data)
    assert load_snapshot(data).totals.counted == 1
    assert_verified(data)
