"""Kept snapshots: how many, and how one replaces a damaged snapshot."""

from __future__ import annotations

from pathlib import Path

from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog


def test_last_three_snapshots_are_kept_with_their_parts(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(11):
        sealed(data, [line(f"event-{number}")])
        fold(data)
    kept = sorted(path.name for path in tmp_path.glob("snapshot*.json"))
    assert kept == ["snapshot.10.json", "snapshot.8.json", "snapshot.9.json", "snapshot.json"]
    counters = sorted(path.name for path in data.counters.glob("*/*"))
    assert counters == [f"g{generation:010d}.parquet" for generation in (8, 9, 10, 11)]


def test_damaged_first_snapshot_is_made_again_from_the_log(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-2")])
    fold(data)
    content = data.snapshot.read_bytes()
    data.snapshot.write_bytes(content[:-30])
    log = SilentLog()
    done = fold(data, log=log)
    assert "snapshot_damaged" in log.events()
    assert done.snapshot.generation > 1
    assert done.snapshot.totals.counted == 2
    assert (data.quarantine / "damaged-snapshot.1.json").exists()
