"""`verify` compares the log with the archive."""

from __future__ import annotations

from pathlib import Path

from compactor.fold.verify_segments import verify_segment
from compactor.repair.verify_archive import check_log
from ingest.collect.encode import encode_lines
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from tests.builders.logs import data_directory, fold, line, sealed


def test_lost_events_are_reported_by_segment_though_many_are_read_together(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    names = [sealed(data, [line(f"event-{number}")]) for number in range(4)]
    fold(data)
    snapshot = load_snapshot(data)
    checked = [verify_segment(data, segment, tmp_path) for segment in sealed_segments(data)]
    with connect(256 << 20, 1) as database:
        assert list(check_log(database, data, snapshot, checked, Settings())) == []
        data.log.joinpath(names[2].file).write_bytes(encode_lines([line("never-folded")]))
        checked = [verify_segment(data, segment, tmp_path) for segment in sealed_segments(data)]
        found = list(check_log(database, data, snapshot, checked, Settings()))
    assert [(each.where, each.problem) for each in found] == [
        (f"log/{names[2].file}", "1 of its events are not in the archive")
    ]
