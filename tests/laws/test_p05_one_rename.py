"""P5: one rename commits the counts and the fact that they were counted.

Two compactors race for the same generation here; tests/faults/test_kill_points.py
kills one before each of its system calls.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.lock import CompactorBusy, compactor_lock
from tests.builders.logs import data_directory
from tests.faults import races


def test_deleted_lock_file_lets_no_second_compactor_in(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    with compactor_lock(data):
        data.compact_lock.unlink()
        with pytest.raises(CompactorBusy, match=r"compact\.lock was deleted"), compactor_lock(data):
            pass
    with compactor_lock(data):
        pass


@pytest.mark.crash
def test_two_compactors_commit_each_generation_once_though_the_lock_is_deleted() -> None:
    outcome = races.run(4, seed=6)
    assert outcome.runs == 4 and outcome.acknowledged == 4 * 25
    assert outcome.failures == []
