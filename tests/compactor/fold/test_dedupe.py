"""P6 and P7: an event counts once, whichever pass folds which copy of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.generations.load import load_snapshot
from shared.schema import ARCHIVE_COLUMNS
from tests.builders.archive import HOUR_MS, archived, assert_verified
from tests.builders.logs import NOON, data_directory, fold, line, sealed


def test_first_received_copy_counts_even_when_it_is_folded_later(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", NOON, NOON + 5000, url="https://example.com/late")], "0")
    fold(data)
    sealed(data, [line("event-1", NOON - 24 * HOUR_MS, NOON, url="https://example.com/early")], "1")
    fold(data)
    assert [row[[*ARCHIVE_COLUMNS].index("path")] for row in archived(data)] == ["/early"]
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
