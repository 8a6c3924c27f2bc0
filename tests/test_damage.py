"""Damage on disk: every bit and every byte of small files, through the functions that detect it; full passes over a sample.

What is flipped or cut is either detected and said, or harmless; it never changes a number in silence, and costs no
neighbour. The programme `python -m faults.damage` does the same with a whole pass for each bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compactor.commit import sweep_orphans
from faults import oracle
from ingest.status import read_status
from shared.layout import DataDirectory
from shared.line import DataFromNewerVersion
from shared.segments import sealed_segments
from shared.settings import Settings
from shared.snapshot import Snapshot, SnapshotDamaged, SnapshotLost, decode, encode, load
from tests.logs import NOON, SilentLog, data_directory, fold, line, sealed
from tests.test_fold import archived, assert_verified

DAY_MS = 86_400_000


def flips(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Each bit flipped, alone: its number, and the content with it."""
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(flipped)


def cuts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The content cut short at each byte, and zeroed from each byte on."""
    for length in range(len(content)):
        yield length, content[:length]
        yield length, content[:length] + bytes(len(content) - length)


def generations(data: DataDirectory, count: int) -> None:
    """As many passes, an event each: event-1 is in the first."""
    for number in range(1, count + 1):
        sealed(data, [line(f"event-{number}")])
        fold(data)


def ids(data: DataDirectory) -> list[str]:
    return [row[0] for row in archived(data)]


def test_every_flipped_bit_of_a_snapshot_is_detected(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 1)
    content = data.snapshot.read_bytes()
    for bit, flipped in flips(content):
        with pytest.raises(SnapshotDamaged):
            decode(flipped, data.snapshot)
            pytest.fail(f"bit {bit}")


def test_every_cut_of_a_snapshot_is_detected(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 1)
    for length, left in cuts(data.snapshot.read_bytes()):
        with pytest.raises(SnapshotDamaged):
            decode(left, data.snapshot)
            pytest.fail(f"byte {length}")


def test_snapshot_without_sha256_of_an_older_foldlog_is_read_and_replaced(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 1)
    older = data.snapshot.read_bytes().replace(b'"format": 2', b'"format": 1')
    data.snapshot.write_bytes(older[: older.index(b',\n "sha256": "' + older[-68:-4])] + b"\n}\n")
    assert load(data).totals.counted == 1
    fold(data)
    assert b'"format": 2' in data.snapshot.read_bytes()
    assert_verified(data)


def test_snapshot_of_a_newer_foldlog_is_refused_though_kept_ones_are_whole(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 2)
    newer = encode(Snapshot()).replace(b'"format": 2', b'"format": 3')
    with pytest.raises(SnapshotDamaged):
        decode(newer, data.snapshot)
    data.snapshot.write_text('{"format": 3}')
    with pytest.raises(DataFromNewerVersion):
        fold(data)
    assert data.snapshot.read_text() == '{"format": 3}'


@pytest.mark.parametrize("damage", ["flipped", "empty", "gone"])
def test_newest_whole_kept_snapshot_takes_the_place_of_a_damaged_one(tmp_path: Path, damage: str) -> None:
    data = data_directory(tmp_path)
    generations(data, 3)
    damaged = break_snapshot(data.snapshot, damage)
    assert (load(data).generation, ids(data)) == (2, ["event-1", "event-2"])
    warnings = read_status(data, Settings(data_dir=tmp_path))["warnings"]
    assert [text for text in warnings if str(data.snapshot) in text]
    sealed(data, [line("event-4")])
    log = SilentLog()
    fold(data, log=log)
    assert ids(data) == ["event-1", "event-2", "event-3", "event-4"]
    assert load(data).generation > 3
    assert load(data).totals.counted == load(data).totals.lines == 4
    assert [fields["went_back_to"] for event, fields in log.said if event == "snapshot_damaged"] == [2]
    assert [path.read_bytes() for path in data.quarantine.iterdir()] == ([] if damage == "gone" else [damaged])
    assert_verified(data)
    verdict = oracle.judge(tmp_path, {f"event-{n}" for n in range(1, 5)}, {f"event-{n}" for n in range(1, 5)}, folded=True)
    assert not verdict, verdict


def break_snapshot(path: Path, damage: str) -> bytes:
    """Damage a file in one of three ways; returns what is there then."""
    content = bytearray(path.read_bytes())
    content[content.index(b'"counted": ') + len(b'"counted": ')] ^= 1
    path.write_bytes(content if damage == "flipped" else b"")
    if damage == "gone":
        path.unlink()
        return b""
    return path.read_bytes()


def test_damaged_kept_snapshots_are_passed_over(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 4)
    break_snapshot(data.snapshot, "flipped")
    break_snapshot(data.kept_snapshot(3), "empty")
    assert load(data).generation == 2
    fold(data)
    assert ids(data) == [f"event-{number}" for number in range(1, 5)]
    assert load(data).generation > 4


def test_parts_of_a_lost_generation_are_not_overwritten_while_they_may_be_read(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 3)
    lost = {path: path.read_bytes() for path in tmp_path.glob("*/*/g0000000003.parquet")}
    break_snapshot(data.snapshot, "flipped")
    fold(data)
    assert len(lost) == 2
    assert {path: path.read_bytes() for path in lost} == lost
    sweep_orphans(data, load(data))
    assert not any(path.exists() for path in lost)
    assert_verified(data)


def test_nothing_is_begun_anew_when_no_snapshot_is_whole(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 3)
    for path in tmp_path.glob("snapshot*.json"):
        break_snapshot(path, "flipped")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SnapshotLost, match="foldlog rebuild"):
        fold(data)
    assert {path: path.read_bytes() for path in before} == before
    for path in tmp_path.glob("snapshot*.json"):
        path.unlink()
    with pytest.raises(SnapshotLost, match="foldlog rebuild"):
        fold(data)


def test_parts_of_a_killed_first_pass_do_not_ask_for_a_person(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 1)
    data.snapshot.unlink()
    fold(data)
    assert ids(data) == ["event-1"]


def test_segment_stays_until_every_kept_snapshot_has_folded_it(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    fold(data, NOON)
    fold(data, NOON + 1)
    name = sealed(data, [line("event-1")])
    old = int(name.sealed_at.timestamp() * 1000) + DAY_MS
    there = []
    for passes in range(5):
        fold(data, old + passes, log_retention_days=1)
        there.append((data.log / name.file).exists())
        damaged, content = data.snapshot, data.snapshot.read_bytes()
        damaged.unlink()
        assert load(data).has_folded("0", 1) or there[-1]
        damaged.write_bytes(content)
    assert there[0] and not there[-1]


def test_damage_after_retention_loses_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 2)
    newest = sealed_segments(data)[-1].name
    old = int(newest.sealed_at.timestamp() * 1000) + DAY_MS
    for passes in range(4):
        fold(data, old + passes, log_retention_days=1)
    break_snapshot(data.snapshot, "flipped")
    fold(data, old + 4, log_retention_days=1)
    assert not (data.log / newest.file).exists()
    assert ids(data) == ["event-1", "event-2"]
    assert_verified(data)
