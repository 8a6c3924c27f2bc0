"""`verify` compares the log with the archive, and tells ids apart by their texts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from compactor.fold.verify_segments import verify_segment
from compactor.generations.commit import commit
from compactor.lock import compactor_lock
from compactor.repair.verify import verify
from compactor.repair.verify_archive import check_log
from ingest.collect.encode import encode_lines
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.sql.archive_events import id_number_sql
from tests.builders.archive import assert_verified
from tests.builders.collisions import IDS_OF_ONE_NUMBER
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


def test_these_ids_have_one_number() -> None:
    numbers = (
        f"SELECT count(DISTINCT {id_number_sql('site', 'id')}) FROM (SELECT 'example.com' AS site, unnest($1) AS id)"
    )
    with connect(64 << 20, 1) as database:
        assert database.execute(numbers, [list(IDS_OF_ONE_NUMBER)]).fetchall() == [(1,)]


def test_two_ids_of_one_number_are_no_event_counted_twice(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(id_) for id_ in IDS_OF_ONE_NUMBER])
    fold(data)
    assert load_snapshot(data).totals.counted == 2
    assert_verified(data)


def test_lost_event_is_found_though_another_has_its_number(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    lost, archived = IDS_OF_ONE_NUMBER
    name = sealed(data, [line(archived)])
    fold(data)
    data.log.joinpath(name.file).write_bytes(encode_lines([line(lost)]))
    checked = [verify_segment(data, segment, tmp_path) for segment in sealed_segments(data)]
    with connect(256 << 20, 1) as database:
        (found,) = check_log(database, data, load_snapshot(data), checked, Settings())
    assert (found.where, found.problem) == (f"log/{name.file}", "1 of its events are not in the archive")


def test_event_that_two_parts_have_is_counted_twice(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(id_) for id_ in ("event-1", *IDS_OF_ONE_NUMBER)])
    fold(data)
    before = load_snapshot(data)
    ((day, kept),) = before.days.items()
    (part,) = kept.archive
    data.part("archive", day, 2).write_bytes(data.part("archive", day, part.generation).read_bytes())
    twice = msgspec.structs.replace(kept, archive=(part, msgspec.structs.replace(part, generation=2)))
    with compactor_lock(data) as lock:
        commit(data, before, msgspec.structs.replace(before, generation=2, days={day: twice}), lock)
    findings = verify(data, Settings(data_dir=data.root), lambda _step: None).findings
    assert ("3 events are counted twice", f"archive/{day}") in {(each.problem, each.where) for each in findings}
