"""Every fault of the soak once, in a few seconds; and that the trend sees growth
(I10).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.outcome import Outcome
from tests.faults.soak import FAULTS, Pace, run
from tests.faults.trend import growth

pytestmark = pytest.mark.long

MIB = 1 << 20


@pytest.mark.crash
def test_each_fault_once_under_load_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    outcome = Outcome("", "", "")
    report = run(Pace(seconds=0, seed=3, every_s=(0.05, 0.2), hold_s=(0.2, 0.4), pause_s=0.02), tmp_path, outcome)
    assert outcome.failures == [], (outcome.failures, report)
    assert outcome.runs >= len(FAULTS)
    assert outcome.acknowledged > 100


GROWTH = [
    ("memory of ingest-0", 100 * MIB, 115 * MIB, False),
    ("memory of ingest-0", 100 * MIB, 400 * MIB, True),
    ("memory of compact", 100 * MIB, 200 * MIB, False),
    ("memory of compact", 100 * MIB, 300 * MIB, True),
    ("descriptors of serve", 8, 70, False),
    ("descriptors of serve", 8, 80, True),
    ("files elsewhere", 20, 90, False),
    ("files elsewhere", 20, 300, True),
    ("bytes in log/", MIB, 3 * MIB, False),
    ("bytes in log/", MIB, 30 * MIB, True),
    ("bytes in archive/ and counters/", MIB, 30 * MIB, False),
]


@pytest.mark.parametrize(("name", "first", "last", "is_growth"), GROWTH)
def test_trend_tells_growth_from_noise(name: str, first: int, last: int, is_growth: bool) -> None:
    samples = {name: [first] * 10 + [(first + last) // 2] * 20 + [last] * 10}
    assert bool(growth(samples, fold_memory=128 * MIB)) is is_growth
    assert growth({name: [first, last]}, fold_memory=128 * MIB) == []
