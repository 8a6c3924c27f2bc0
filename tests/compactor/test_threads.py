"""A fold leaves a core to workers that take events, and takes all when they do not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from compactor.threads import BUSY_S, MEMORY_OF_A_THREAD, THREADS_MAX, fold_threads, takes_events
from shared.settings import Settings
from tests.builders.logs import data_directory


@pytest.mark.parametrize(
    ("size", "age_s", "expected"), [(10, 0.0, True), (0, 0.0, False), (10, BUSY_S + 60, False)], ids=str
)
def test_worker_takes_events_if_it_appended_one_lately(tmp_path: Path, size: int, age_s: float, expected: bool) -> None:
    data = data_directory(tmp_path)
    path = data.log / "active-0.ndjson"
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age_s,) * 2)
    assert takes_events(data) is expected


def test_threads_are_those_that_cores_ingest_and_memory_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_directory(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(3)))
    enough = Settings(data_dir=data.root, fold_memory=8 * MEMORY_OF_A_THREAD)
    assert fold_threads(data, enough) == 3
    (data.log / "active-0.ndjson").write_bytes(b"x")
    assert fold_threads(data, enough) == 2
    assert fold_threads(data, Settings(data_dir=data.root, fold_memory=MEMORY_OF_A_THREAD)) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    assert fold_threads(data, enough) == THREADS_MAX
