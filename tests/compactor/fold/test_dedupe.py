"""P6 and P7: any split of the same segments into passes, in any order of writers, with
any duplicates, gives the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.collect.encode import Line
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.archive import HOUR_MS, archived, assert_verified, counters
from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold, fold_all, line, sealed

events = st.builds(
    line,
    st.sampled_from([f"event-{number}" for number in range(12)]),
    st.integers(0, 60).map(lambda hours: NOON - hours * HOUR_MS),
    received_ms=st.integers(0, 5).map(lambda minutes: NOON + minutes * 60_000),
    name=st.sampled_from(["pageview", "signup"]),
    visitor=st.sampled_from(["ann", "bob", None]),
    url=st.sampled_from(["https://example.com/a?utm_source=x", "https://example.com/b", None]),
    referrer=st.sampled_from(["https://other.org/x", None]),
    ua=st.sampled_from([GOOGLEBOT, None]),
)
segments = st.lists(
    st.tuples(st.sampled_from(["0", "1", "import"]), st.lists(events, min_size=1, max_size=6)), max_size=6
)


# Each example is many passes: on a busy machine all of them took more than the two
# minutes that a test has.
@pytest.mark.timeout(400)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(segments, st.lists(st.booleans(), min_size=6, max_size=6), st.randoms())
@pytest.mark.long
def test_any_split_and_order_gives_the_same_counters(
    written: list[tuple[str, list[Line]]], cuts: list[bool], order: Any
) -> None:
    with tempfile.TemporaryDirectory() as root:
        together = data_directory(Path(root) / "together")
        for writer, lines in written:
            sealed(together, lines, writer)
        fold_all(together)

        apart = data_directory(Path(root) / "apart")
        shuffled = list(written)
        order.shuffle(shuffled)
        for (writer, lines), cut in zip(shuffled, cuts, strict=False):
            sealed(apart, lines, writer)
            if cut:
                fold(apart, max_bytes=1)  # one segment a pass, others left for later
        fold_all(apart, max_bytes=1)

        assert archived(apart) == archived(together)
        assert counters(apart) == counters(together)
        distinct = {event.id for _, lines in written for event in lines}
        assert load_snapshot(apart).totals.counted == load_snapshot(together).totals.counted == len(distinct)
        assert_verified(apart)
        assert_verified(together)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(segments, st.randoms())
@pytest.mark.long
def test_too_many_values_are_capped_the_same_for_any_split(written: list[tuple[str, list[Line]]], order: Any) -> None:
    with tempfile.TemporaryDirectory() as root:
        directories = [data_directory(Path(root) / name) for name in ("together", "apart")]
        for data, shuffle in zip(directories, (False, True), strict=True):
            parts = list(written)
            if shuffle:
                order.shuffle(parts)
            for writer, lines in parts:
                sealed(data, [_with_own_path(each) for each in lines], writer)
                if shuffle:
                    fold(data, max_values=2)
            fold_all(data, max_values=2)
        assert counters(directories[1]) == counters(directories[0])
        for data in directories:
            assert_verified(data, max_values=2)


def _with_own_path(each: Line) -> Line:
    each.url = f"https://example.com/{each.id}"
    return each


def test_folding_twice_changes_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-2")])
    fold(data)
    before = counters(data), load_snapshot(data).totals
    fold(data)
    assert (counters(data), load_snapshot(data).totals) == before


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


@pytest.mark.parametrize(
    ("name", "fields", "column", "expected"),
    [
        ("path", {"url": "https://example.com/a/b?c=d#e"}, "path", "/a/b"),
        ("path of a bare host", {"url": "https://example.com"}, "path", "/"),
        ("path of a bare query", {"url": "https://example.com?x=1"}, "path", "/"),
        ("path that holds a url", {"url": "https://example.com/go/http://a.org/x"}, "path", "/go/http://a.org/x"),
        ("no url", {}, "path", None),
        ("referrer host", {"referrer": "https://user@Www.Google.COM:443/search?q=1"}, "referrer", "www.google.com"),
        ("own site", {"referrer": "https://example.com/x"}, "referrer", None),
        ("own site with www", {"referrer": "https://www.example.com/x"}, "referrer", None),
        (
            "utm decoded",
            {"url": "https://example.com/?a=1&utm_campaign=Black%20Friday+now"},
            "utm_campaign",
            "Black Friday now",
        ),
        ("utm that is not UTF-8", {"url": "https://example.com/?utm_source=%ff"}, "utm_source", "%ff"),
        ("utm cut short", {"url": "https://example.com/?utm_source=a%e2%82"}, "utm_source", "a%e2%82"),
        ("utm with a lone percent sign", {"url": "https://example.com/?utm_source=100%"}, "utm_source", "100%"),
        ("utm in a path", {"url": "https://example.com/a&utm_source=x"}, "utm_source", None),
        ("utm in the fragment", {"url": "https://example.com/#utm_source=x"}, "utm_source", None),
        ("empty utm", {"url": "https://example.com/?utm_source=&utm_medium=mail"}, "utm_source", None),
        ("browser", {}, "browser", "Firefox"),
        ("system", {}, "os", "Linux"),
        ("device", {}, "device", "desktop"),
        ("bot", {"ua": GOOGLEBOT}, "bot", True),
        ("no user agent is no bot", {"ua": None}, "bot", False),
    ],
)
def test_what_is_derived_at_fold(
    tmp_path: Path, name: str, fields: dict[str, Any], column: str, expected: object
) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", **fields)])
    fold(data)
    path = next(data.archive.glob("*/*.parquet"))
    with connect(128 << 20, 1) as database:
        assert database.execute(f"SELECT {column} FROM read_parquet($1)", [[str(path)]]).fetchall() == [(expected,)], (
            name
        )


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
