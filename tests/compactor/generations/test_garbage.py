"""What a killed pass leaves is removed, and nothing else."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from compactor.generations.garbage import sweep_orphans
from shared.generations.load import load_snapshot
from tests.builders.archive import assert_verified
from tests.builders.logs import data_directory, fold, line, sealed


def test_parts_of_a_killed_pass_are_removed(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data)
    orphan = data.part("archive", date(2026, 11, 22), 99)
    orphan.write_bytes(b"half a part")
    foreign = orphan.with_name("notes.txt")
    foreign.write_text("mine")
    assert sweep_orphans(data, load_snapshot(data)) == 1
    assert foreign.exists()
    assert_verified(data)


def test_unpublished_snapshot_of_a_killed_pass_is_removed(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    unpublished = data.root / ".snapshot.json.77.77.tmp"
    unpublished.write_text("{")
    sweep_orphans(data, load_snapshot(data))
    assert not unpublished.exists()
