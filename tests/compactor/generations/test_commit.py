"""A pass that lost the right to commit publishes nothing (P5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.generations.commit import CommitLost
from compactor.lock import compactor_lock
from compactor.run_pass import run_pass
from ingest.collect.encode import encode_lines
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.settings import Settings
from tests.builders.logs import NOON, data_directory, line, sealed
from tests.builders.silent_log import SilentLog


@pytest.mark.parametrize("thief", ["deletes the lock file", "commits first"])
def test_pass_that_lost_its_lock_or_generation_publishes_nothing(tmp_path: Path, thief: str) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    with compactor_lock(data) as lock:
        log = _ThiefLog(data, thief)
        _orphan(data)
        with pytest.raises(CommitLost):
            run_pass(data, Settings(data_dir=tmp_path), log, lock, NOON)
    assert load_snapshot(data).totals.counted == 0


def _orphan(data: DataDirectory) -> None:
    """An active segment without a writer. The thief acts when the pass recovers it."""
    data.active("7").write_bytes(encode_lines([line("event-7")]))


class _ThiefLog(SilentLog):
    def __init__(self, data: DataDirectory, thief: str) -> None:
        super().__init__()
        self._data, self._thief = data, thief

    def info(self, event: str, **fields: object) -> None:
        super().info(event, **fields)
        if event == "segment_recovered" and self._thief == "commits first":
            self._data.snapshot.write_bytes(encode_snapshot(Snapshot(generation=7)))
        elif event == "segment_recovered":
            self._data.compact_lock.unlink()
