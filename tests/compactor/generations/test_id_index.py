"""The index of ids goes with its archive parts, whatever rewrites them."""

from __future__ import annotations

from pathlib import Path

from compactor.process import compact_once
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog


def test_erasure_on_a_day_without_a_whole_archive_keeps_its_index(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", visitor="someone")])
    for days in range(12):
        fold(data, NOON + days * 24 * HOUR_MS, archive_retention_days=7)
    later = NOON + 12 * 24 * HOUR_MS
    late = [line(f"late-{n}-event", NOON, later, visitor=f"visitor-{n}") for n in range(3)]
    sealed(data, late)
    fold(data, later, archive_retention_days=7)
    (day,) = load_snapshot(data).days.values()
    assert day.expired and len(day.archive) == 1

    create_request(data, "visitor-1", None)
    compact_once(data, Settings(data_dir=data.root), SilentLog())
    (day,) = load_snapshot(data).days.values()
    assert [part.rows for part in day.archive] == [2]
    assert [part.generation for part in day.ids] == [part.generation for part in day.archive]

    sealed(data, [late[0]])
    fold(data, later + HOUR_MS)
    assert load_snapshot(data).totals.duplicates == 1
