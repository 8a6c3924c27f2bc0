"""P6: any split of the same segments into passes gives the same counters.

The rebuild of the retained log is the largest of these splits.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from tests.builders.archive import HOUR_MS, archived, assert_verified, counters
from tests.builders.command import run_here
from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold, fold_all, line, sealed
from tests.builders.server import Server, environment

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
    st.tuples(st.sampled_from(["0", "1", "import"]), st.lists(events, min_size=1, max_size=6)), min_size=2, max_size=6
)


# Each example is many passes: a fortieth of what other properties get.
SOME = settings(
    max_examples=max(3, settings().max_examples // 40), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.timeout(600)
@SOME
@given(segments, st.lists(st.booleans(), min_size=6, max_size=6), st.randoms())
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


@pytest.mark.timeout(600)
@SOME
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


def test_verify_finds_what_is_wrong_and_rebuild_mends_it(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    with Server(tmp_path) as server:
        server.post([{"name": "pageview", "id": "event-001"}])
        server.fold()
    environ = environment(data.root)
    (counters,) = data.counters.glob("*/*.parquet")
    intact = counters.read_bytes()
    counters.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    found = run_here(["verify"], environ)
    assert found.returncode == 1
    assert f"counters/{counters.parent.name}/{counters.name}" in found.stdout and "To do:" in found.stdout
    counters.write_bytes(intact)
    assert run_here(["verify"], environ).returncode == 0

    unchanged = run_here(["rebuild"], environ)
    assert unchanged.returncode == 0 and "0 of 1 days changed" in unchanged.stdout
    assert run_here(["verify"], environ).returncode == 0
