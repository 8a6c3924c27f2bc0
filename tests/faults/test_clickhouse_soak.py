"""Every fault of the soak of a ClickHouse once, in some seconds (P7)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.faults.clickhouse_soak import FAULTS, run
from tests.faults.hosts_soak import Pace
from tests.faults.outcome import Outcome

pytestmark = [pytest.mark.long, pytest.mark.crash, pytest.mark.component]


def test_each_fault_once_leaves_each_acknowledged_event_in_the_cluster_once() -> None:
    outcome = Outcome("", "", "")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)  # for the user of the PostgreSQL, who cannot enter the folders of pytest
        report = run(Pace(seconds=0, seed=3, every_s=(0.1, 0.5), hold_s=(0.2, 1.0)), Path(name), outcome)
    assert outcome.failures == [], (outcome.failures, report)
    assert outcome.runs >= len(FAULTS)
    assert outcome.acknowledged > 100
