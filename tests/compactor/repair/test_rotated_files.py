"""Rotated files in log/: lines that no segment has are sealed, and the file is
deleted.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from compactor.lock import compactor_lock
from compactor.process import compact_once
from compactor.repair.rotated_files import QUIET_S, recover_rotated_files
from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.layout import DataDirectory, parse_active, parse_rotated, parse_segment
from shared.segments.sealed import digest, sealed_segments
from shared.settings import Settings
from shared.timestamps import now_ms
from tests.builders.archive import archived, assert_verified
from tests.builders.logs import data_directory, fold_all, line, sealed
from tests.builders.silent_log import SilentLog
from tests.faults.crash import crashes, make_tree
from tests.faults.record import Recorder, read_tree

LINES = encode_lines([line("event-1"), line("event-2")])

# A file name, and the writer whose active segment it was; None for any other file.
NAMES: dict[str, str | None] = {
    "active-0.ndjson.1": "0",
    "active-0.ndjson-20261127": "0",
    "active-0.ndjson-2026112705.backup": "0",
    "active-0.ndjson.1.gz": "0",
    "active-import.ndjson-20261127.zst": "import",
    "active-0.1.ndjson": "0",
    "active-12-20261127.ndjson": "12",
    "active-0-20261127.ndjson.gz": "0",
    "active-0.ndjson~": "0",
    "active-0.ndjson": None,
    "active-0": None,
    "active-0.txt": None,
    "reactive-0.ndjson.1": None,
    ".active-0.ndjson.77.77.tmp": None,
    "20261122T120000Z-0-0000000001.ndjson": None,
    "20261122T120000Z-0-0000000001.sha256": None,
}


@pytest.mark.parametrize(("name", "writer"), NAMES.items(), ids=NAMES)
def test_rotated_file_is_recognised_by_its_name(name: str, writer: str | None) -> None:
    assert parse_rotated(name) == writer
    assert writer is None or (parse_active(name) is None and parse_segment(name) is None)


def recover(data: DataDirectory, quiet_s: float = 0, at_ms: int | None = None) -> SilentLog:
    log = SilentLog()
    with compactor_lock(data):
        recover_rotated_files(data, log, now_ms() if at_ms is None else at_ms, quiet_s)
    return log


def counted(data: DataDirectory) -> list[str]:
    fold_all(data)
    assert_verified(data)
    return sorted(row[0] for row in archived(data))


Pack = Callable[[bytes], bytes]
KINDS: dict[str, tuple[str, Pack]] = {
    "renamed": ("active-0.ndjson.1", bytes),
    "dated": ("active-0.ndjson-20261127", bytes),
    "with its extension": ("active-0.1.ndjson", bytes),
    "gzip": ("active-0.ndjson.1.gz", gzip.compress),
    "zstd": ("active-0.ndjson-20261127.zst", zstandard.compress),
}


@pytest.mark.parametrize(("name", "pack"), KINDS.values(), ids=KINDS)
def test_lines_that_no_segment_has_are_sealed(tmp_path: Path, name: str, pack: Pack) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-0")])
    (data.log / name).write_bytes(pack(LINES))
    log = recover(data)
    assert [(fields["outcome"], fields["lines"]) for _, fields in log.entries] == [("recovered", 2)]
    assert [(each.name.writer, each.name.sequence) for each in sealed_segments(data)] == [("0", 1), ("rotated", 1)]
    assert all(digest(each).intact for each in sealed_segments(data))
    assert not (data.log / name).exists()
    assert counted(data) == ["event-0", "event-1", "event-2"]


@pytest.mark.parametrize(("name", "pack"), KINDS.values(), ids=KINDS)
def test_lines_that_a_segment_has_are_not_sealed_again(tmp_path: Path, name: str, pack: Pack) -> None:
    data = data_directory(tmp_path)
    of_a_segment = sealed(data, [line("event-1"), line("event-2")])
    (data.log / name).write_bytes(pack(LINES))
    log = recover(data)
    assert [(fields["outcome"], fields["segment"]) for _, fields in log.entries] == [("removed", of_a_segment.file)]
    assert len(sealed_segments(data)) == 1 and not (data.log / name).exists()


def test_several_files_get_consecutive_sequence_numbers(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(3):
        (data.log / f"active-0.ndjson.{number}").write_bytes(encode_lines([line(f"event-{number}")]))
    recover(data)
    (data.log / "active-1.ndjson.1").write_bytes(encode_lines([line("event-9")]))
    recover(data)
    assert [each.name.sequence for each in sealed_segments(data)] == [1, 2, 3, 4]
    assert counted(data) == ["event-0", "event-1", "event-2", "event-9"]


def test_file_that_its_writer_has_open_is_left(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    segment = ActiveSegment(data, "0", 1, "fsync")
    segment.commit(LINES, 2)
    moved = segment.path.rename(data.log / "active-0.ndjson.1")
    assert recover(data).entries == []
    assert moved.exists()
    segment.close()  # as a kill does it
    assert recover(data).outcomes("rotated_file") == ["recovered"]
    assert counted(data) == ["event-1", "event-2"]


def test_file_that_changed_lately_is_left(tmp_path: Path) -> None:
    """By its ctime, which no program can set. A ctime in the future, from a clock that
    was ahead, does not count as lately.
    """
    data = data_directory(tmp_path)
    path = data.log / "active-0.ndjson.1"
    path.write_bytes(LINES)
    for now_s, is_left in ((time.time(), True), (time.time() - QUIET_S + 9, True), (time.time() - 3600, False)):
        recover(data, QUIET_S, int(now_s * 1000))
        assert path.exists() == is_left
    assert counted(data) == ["event-1", "event-2"]


def test_pass_leaves_a_file_that_changed_lately_and_folds_the_rest(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    (data.log / "active-0.ndjson.1").write_bytes(LINES)
    sealed(data, [line("event-0")])
    assert compact_once(data, Settings(data_dir=data.root), SilentLog()).snapshot.totals.counted == 1
    assert (data.log / "active-0.ndjson.1").exists()


def test_pass_recovers_a_quiet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_directory(tmp_path)
    (data.log / "active-0.ndjson.1").write_bytes(LINES)
    monkeypatch.setattr("compactor.process.now_ms", lambda: now_ms() + int(QUIET_S * 2000))
    log = SilentLog()
    assert compact_once(data, Settings(data_dir=data.root), log).snapshot.totals.counted == 2
    assert "recovered" in log.outcomes("rotated_file")
    assert_verified(data)


def test_bad_lines_go_to_quarantine(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    (data.log / "active-0.ndjson.1").write_bytes(LINES + b"torn")
    log = recover(data)
    assert [(fields["lines"], fields["quarantined"]) for _, fields in log.entries] == [(2, 1)]
    (kept,) = data.quarantine.iterdir()
    assert kept.name.startswith("recovered-rotated-") and b'"file":"active-0.ndjson.1"' in kept.read_bytes()
    assert counted(data) == ["event-1", "event-2"]


@pytest.mark.parametrize(
    "content", [b"BZh91AY&SY", os.urandom(500), gzip.compress(b"notes\n")], ids=["bzip2", "noise", "gzip"]
)
def test_file_without_a_good_line_is_quarantined_unchanged(tmp_path: Path, content: bytes) -> None:
    data = data_directory(tmp_path)
    for number in range(2):  # a second file of the same name does not replace the first
        (data.log / "active-0.ndjson.1").write_bytes(content + bytes(number))
        assert recover(data).outcomes("rotated_file") == ["quarantined"]
    kept = [path.read_bytes() for path in data.quarantine.iterdir()]
    assert sorted(kept) == sorted([content, content + b"\0"])
    assert list(data.log.iterdir()) == [] and counted(data) == []


def test_truncated_compressed_file_yields_its_readable_lines_and_is_kept(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    ids = [f"event-{number:04d}-{os.urandom(9).hex()}" for number in range(2_000)]
    cut = gzip.compress(encode_lines([line(id_) for id_ in ids]))[:-5_000]
    (data.log / "active-0.ndjson.1.gz").write_bytes(cut)
    assert recover(data).outcomes("rotated_file") == ["recovered"]
    assert cut in [path.read_bytes() for path in data.quarantine.iterdir()]
    assert list(data.log.glob("active*")) == []
    found = counted(data)
    assert 0 < len(found) < 2_000 and found == ids[: len(found)]


def test_empty_file_is_removed(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    (data.log / "active-0.ndjson.1").touch()
    assert recover(data).outcomes("rotated_file") == ["removed"]
    assert list(data.log.iterdir()) == [] and list(data.quarantine.iterdir()) == []


def test_file_that_cannot_be_read_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    (data.log / "active-0.ndjson.1").symlink_to(tmp_path / "elsewhere")
    (data.log / "active-0.ndjson.2").mkdir()
    (data.log / "active-0.ndjson.3").write_bytes(LINES)
    assert recover(data).outcomes("rotated_file") == ["skipped", "recovered"]
    assert counted(data) == ["event-1", "event-2"]


def test_file_of_a_newer_version_is_left_and_stops_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    content = encode_lines([line("event-9", v=9)])
    (data.log / "active-0.ndjson.1").write_bytes(content)
    (data.log / "active-0.ndjson.2").write_bytes(LINES)
    log = recover(data)
    assert log.outcomes("rotated_file") == ["skipped", "recovered"]
    assert "newer" in str(log.entries[0][1]["reason"])
    assert (data.log / "active-0.ndjson.1").read_bytes() == content
    assert list(data.quarantine.iterdir()) == []
    assert counted(data) == ["event-1", "event-2"]


def remaining(data: DataDirectory) -> tuple[list[bytes], list[bytes], list[str]]:
    """Sealed lines, quarantined content, and names of the other files of the log.
    Segment names contain the time of the seal, so they are left out.
    """
    found = sealed_segments(data)
    assert all(digest(each).intact for each in found)
    known = {each.path.name for each in found} | {each.checksum.name for each in found}
    return (
        sorted(each.path.read_bytes() for each in found),
        sorted(path.read_bytes() for path in data.quarantine.iterdir() if not path.name.endswith(".tmp")),
        sorted(path.name for path in data.log.iterdir() if path.name not in known),
    )


@pytest.mark.crash
def test_crash_at_any_point_and_another_run_leave_the_same(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-0")])
    (data.log / "active-0.ndjson.1").write_bytes(LINES + b"torn")
    (data.log / "active-0.ndjson.2").write_bytes(encode_lines([line("event-0")]))
    (data.log / "active-0.ndjson.3.gz").write_bytes(gzip.compress(encode_lines([line("event-3")])) + b"junk")
    (data.log / "active-0.ndjson.4.xz").write_bytes(b"\xfd7zXZ")
    with Recorder(data.root) as recorder:
        recover(data)
    wanted = remaining(data)
    assert (
        wanted[0] == sorted([encode_lines([line("event-0")]), LINES, encode_lines([line("event-3")])])
        and wanted[2] == []
    )
    tried = list(crashes(recorder, 7))
    assert len(tried) > 20
    for crash, tree in tried:
        again = DataDirectory(tmp_path / "again")
        shutil.rmtree(again.root, ignore_errors=True)
        make_tree(again.root, tree)
        recover(again)
        assert remaining(again) == wanted, crash
        before = read_tree(again.root)
        recover(again)
        assert read_tree(again.root) == before
