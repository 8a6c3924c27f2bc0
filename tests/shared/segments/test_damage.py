"""Damage on disk: every bit and every byte of small files, through the functions that
detect it, and complete passes over a sample.

Damage is detected and reported, or harmless. It never changes a number silently, and
affects no other line or part. `python -m tests.faults.damage` does the same with a
complete pass for each bit.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from fnmatch import fnmatch
from pathlib import Path

import pytest
import zstandard

from compactor.fold.verify_segments import verify_segment
from compactor.generations.garbage import sweep_orphans
from compactor.process import Compactor
from compactor.repair.rebuild import rebuild
from compactor.repair.rebuild_days import DayChange
from compactor.repair.verify import verify
from compactor.repair.verify_finding import VerifyFinding
from shared.disk.layout import DataDirectory
from shared.generations.load import SnapshotLost, kept_generations, load_snapshot
from shared.generations.part_integrity import PartDamaged, part_error
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot, encode_snapshot
from shared.segments.line import DataFromNewerVersion
from shared.segments.recovery import recover
from shared.segments.sealed import Segment, open_segment, sealed_segments
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import now_ms
from tests.builders.archive import archived, assert_verified
from tests.builders.disks import scratch_directory
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog
from tests.faults import oracle

DAY_MS = 86_400_000
DAY = date(2026, 11, 22)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield Path(directory)


def flips(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The content with one bit flipped, for each bit, and the number of the bit."""
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(flipped)


def cuts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The content truncated at each byte, and zeroed from each byte on."""
    for length in range(len(content)):
        yield length, content[:length]
        yield length, content[:length] + bytes(len(content) - length)


def generations(data: DataDirectory, count: int) -> None:
    """So many passes with an event each; event-1 is in the first."""
    for number in range(1, count + 1):
        sealed(data, [line(f"event-{number}")])
        fold(data)


@pytest.fixture(scope="module")
def folded() -> Iterator[DataDirectory]:
    """Three passes. Tests copy it and never change it."""
    with scratch_directory() as directory:
        data = data_directory(Path(directory))
        generations(data, 3)
        yield data


def copy_of(data: DataDirectory, root: Path) -> DataDirectory:
    return DataDirectory(Path(shutil.copytree(data.root, root / "data")))


def ids(data: DataDirectory) -> list[str]:
    return [row[0] for row in archived(data)]


def test_every_flipped_bit_of_a_snapshot_is_detected(folded: DataDirectory, tmp_path: Path) -> None:
    data = copy_of(folded, tmp_path)
    content = data.snapshot.read_bytes()
    for bit, flipped in flips(content):
        with pytest.raises(SnapshotDamaged):
            decode_snapshot(flipped, data.snapshot)
            pytest.fail(f"bit {bit}")


def test_every_cut_of_a_snapshot_is_detected(folded: DataDirectory, tmp_path: Path) -> None:
    data = copy_of(folded, tmp_path)
    for length, left in cuts(data.snapshot.read_bytes()):
        with pytest.raises(SnapshotDamaged):
            decode_snapshot(left, data.snapshot)
            pytest.fail(f"byte {length}")


@pytest.mark.long
def test_snapshot_without_sha256_of_an_older_foldlog_is_read_and_replaced(
    tmp_path: Path,
) -> None:
    subprocess.run(["tar", "-xzf", GOLDEN, "-C", tmp_path], check=True)  # noqa: S607
    data = DataDirectory(tmp_path / "data")
    older = json.loads(data.snapshot.read_bytes())
    del older["sha256"]
    data.snapshot.write_text(json.dumps(older | {"format": 1}))
    assert load_snapshot(data).totals.counted == older["totals"]["counted"]
    sealed(data, [line("event-4")])
    fold(data, max_values=10, sites=("example.com", "shop.example.com"))
    assert b'"format": 3' in data.snapshot.read_bytes()
    assert_verified(data, max_values=10, sites=("example.com", "shop.example.com"))


def test_snapshot_of_a_newer_foldlog_is_rejected_though_kept_ones_are_intact(
    folded: DataDirectory, tmp_path: Path
) -> None:
    data = copy_of(folded, tmp_path)
    newer = encode_snapshot(Snapshot()).replace(b'"format": 3', b'"format": 4')
    with pytest.raises(SnapshotDamaged):
        decode_snapshot(newer, data.snapshot)
    data.snapshot.write_text('{"format": 4}')
    with pytest.raises(DataFromNewerVersion):
        fold(data)
    assert data.snapshot.read_text() == '{"format": 4}'


@pytest.mark.parametrize("damage", ["flipped", "empty", "gone"])
def test_newest_intact_kept_snapshot_replaces_a_damaged_one(folded: DataDirectory, tmp_path: Path, damage: str) -> None:
    data = copy_of(folded, tmp_path)
    damaged = break_snapshot(data.snapshot, damage)
    assert (load_snapshot(data).generation, ids(data)) == (2, ["event-1", "event-2"])
    warnings = read_status(data, Settings(data_dir=data.root)).warnings
    assert [text for text in warnings if str(data.snapshot) in text]
    sealed(data, [line("event-4")])
    log = SilentLog()
    fold(data, log=log)
    assert ids(data) == ["event-1", "event-2", "event-3", "event-4"]
    assert load_snapshot(data).generation > 3
    assert load_snapshot(data).totals.counted == load_snapshot(data).totals.lines == 4
    assert [fields["went_back_to"] for event, fields in log.entries if event == "snapshot_damaged"] == [2]
    assert [path.read_bytes() for path in data.quarantine.iterdir()] == ([] if damage == "gone" else [damaged])
    assert_verified(data)
    violations = oracle.find_violations(
        data.root, {f"event-{n}" for n in range(1, 5)}, {f"event-{n}" for n in range(1, 5)}, folded=True
    )
    assert not violations, violations


def break_snapshot(path: Path, damage: str) -> bytes:
    """Damage a file in one of three ways. Returns its new content."""
    content = bytearray(path.read_bytes())
    content[content.index(b'"counted": ') + len(b'"counted": ')] ^= 1
    path.write_bytes(content if damage == "flipped" else b"")
    if damage == "gone":
        path.unlink()
        return b""
    return path.read_bytes()


def test_damaged_kept_snapshots_are_skipped(folded: DataDirectory, tmp_path: Path) -> None:
    data = copy_of(folded, tmp_path)
    break_snapshot(data.snapshot, "flipped")
    break_snapshot(data.kept_snapshot(2), "empty")
    assert load_snapshot(data).generation == 1
    fold(data)
    assert ids(data) == ["event-1", "event-2", "event-3"]
    assert load_snapshot(data).generation > 3


@pytest.mark.parametrize("damaged", [(3,), (3, 2)])
def test_no_generation_is_used_twice_and_no_part_of_a_lost_one_is_written_over(
    folded: DataDirectory, tmp_path: Path, damaged: tuple[int, ...]
) -> None:
    """A report that started earlier may be reading them."""
    data = copy_of(folded, tmp_path)
    lost = {path: path.read_bytes() for path in data.root.glob("*/*/g0000000003.parquet")}
    for generation in damaged:
        break_snapshot(data.snapshot if generation == 3 else data.kept_snapshot(generation), "flipped")
    fold(data)
    assert len(lost) == 3  # archive, ids, counters
    assert {path: path.read_bytes() for path in lost} == lost
    assert min(load_snapshot(data).generation, *(set(kept_generations(data)) - {1, 2})) > 3
    sweep_orphans(data, load_snapshot(data))
    assert not any(path.exists() for path in lost)
    assert_verified(data)


def test_nothing_is_swept_beside_a_damaged_snapshot(folded: DataDirectory, tmp_path: Path) -> None:
    data = copy_of(folded, tmp_path)
    lost = list(data.root.glob("*/*/g0000000003.parquet"))
    break_snapshot(data.snapshot, "flipped")
    Compactor(data, Settings(data_dir=data.root), SilentLog()).begin()
    assert lost and all(path.exists() for path in lost)


def test_nothing_changes_when_no_snapshot_is_intact(folded: DataDirectory, tmp_path: Path) -> None:
    data = copy_of(folded, tmp_path)
    for path in data.root.glob("snapshot*.json"):
        break_snapshot(path, "flipped")
    before = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()}
    with pytest.raises(SnapshotLost) as damaged:
        fold(data)
    assert damaged.value.path == data.snapshot
    assert "foldlog rebuild" in str(damaged.value)
    assert {path: path.read_bytes() for path in before} == before
    for path in data.root.glob("snapshot*.json"):
        path.unlink()
    with pytest.raises(SnapshotLost) as missing:
        fold(data)
    assert missing.value.error == "is missing"


def test_parts_of_a_killed_first_pass_need_no_operator(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 1)
    data.snapshot.unlink()
    fold(data)
    assert ids(data) == ["event-1"]


def test_segment_stays_until_every_kept_snapshot_has_folded_it(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    now = now_ms()
    for number in range(2):  # a first snapshot could not be replaced by another
        sealed(data, [line(f"earlier-{number}")])
        fold(data, now - 2 + number)
    name = sealed(data, [line("event-1")])
    there = []
    for passes in range(5):
        fold(data, now + DAY_MS + 2000 + passes, log_retention_days=1)
        there.append((data.log / name.file).exists())
    assert there == [True, True, True, True, False]


@pytest.mark.long
def test_damage_after_retention_loses_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    generations(data, 2)
    newest = sealed_segments(data)[-1].name
    old = int(newest.sealed_at.timestamp() * 1000) + DAY_MS
    fold(data, old)  # ahead of the earlier passes: the clock must be steady for two days
    for passes in range(4):
        fold(data, old + 2 * DAY_MS + passes, log_retention_days=1)
    break_snapshot(data.snapshot, "flipped")
    fold(data, old + 2 * DAY_MS + 4, log_retention_days=1)
    assert not (data.log / newest.file).exists()
    assert ids(data) == ["event-1", "event-2"]
    assert_verified(data)


def flip(path: Path, bit: int | None = None) -> None:
    """Flip one bit of a file, by default in its middle."""
    content = bytearray(path.read_bytes())
    bit = 4 * len(content) if bit is None else bit
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def findings(data: DataDirectory) -> list[VerifyFinding]:
    return verify(data, Settings(data_dir=data.root), lambda _step: None).findings


def rebuilt(data: DataDirectory, log: SilentLog, *, dry_run: bool = False) -> list[DayChange]:
    return rebuild(data, Settings(data_dir=data.root), log, NOON, dry_run=dry_run)


# Each bit of a sealed segment, of its .sha256 and of its compressed form.

LINES = [f"event-{number}" for number in range(1, 4)]


@pytest.fixture
def segment(tmp_path: Path) -> tuple[DataDirectory, Segment]:
    data = data_directory(tmp_path)
    sealed(data, [line(id_, visitor=None, ua=None) for id_ in LINES])
    return data, sealed_segments(data)[0]


def kept_by(data: DataDirectory, segment: Segment, scratch: Path) -> tuple[list[str], bool]:
    """The ids of a segment that a fold counts, and whether it is reported as
    damaged.
    """
    checked = verify_segment(data, segment, scratch)
    with open_segment(checked.path) as file:
        return [id_ for each in file if (id_ := oracle.id_of(each))], checked.damaged


def test_every_flipped_bit_of_a_segment_is_detected_and_costs_its_line_alone(
    segment: tuple[DataDirectory, Segment],
) -> None:
    data, each = segment
    scratch = data.root / "scratch"
    scratch.mkdir()
    content = each.path.read_bytes()
    number_of = [number for number, text in enumerate(content.splitlines(keepends=True)) for _ in text]
    for bit, flipped in flips(content):
        each.path.write_bytes(flipped)
        ids_kept, damaged = kept_by(data, each, scratch)
        wanted = [id_ for number, id_ in enumerate(LINES) if number != number_of[bit // 8]]
        assert damaged and ids_kept == wanted, bit


def test_every_cut_of_a_segment_is_detected_and_costs_no_line_before_it(segment: tuple[DataDirectory, Segment]) -> None:
    data, each = segment
    scratch = data.root / "scratch"
    scratch.mkdir()
    content = each.path.read_bytes()
    for length, left in cuts(content):
        each.path.write_bytes(left)
        ids_kept, damaged = kept_by(data, each, scratch)
        assert damaged and ids_kept == LINES[: content[:length].count(b"\n")], length


def test_every_flipped_bit_and_every_cut_of_a_checksum_costs_nothing(segment: tuple[DataDirectory, Segment]) -> None:
    data, each = segment
    scratch = data.root / "scratch"
    scratch.mkdir()
    content = each.checksum.read_bytes()
    for place, left in [*flips(content), *cuts(content)]:
        each.checksum.write_bytes(left)
        ids_kept, damaged = kept_by(data, each, scratch)
        hash_is_whole = left.partition(b" ")[0] == content[:64]
        assert ids_kept == LINES and (damaged or hash_is_whole), place


# By suffix: the compressor, and the largest number of flips that may be undetected. The
# time, system and name in a gzip header do not affect the lines, nor does the flag of
# zstd for a checksum.
PACKED: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    ".gz": (lambda plain: gzip.compress(plain, mtime=0), 100),
    ".zst": (zstandard.ZstdCompressor(write_checksum=True).compress, 20),
}


def pack(each: Segment, suffix: str) -> tuple[Segment, bytes]:
    compressed = PACKED[suffix][0](each.path.read_bytes())
    each.path.unlink()
    return Segment(each.name, each.path.with_name(each.name.compressed(suffix))), compressed


@pytest.mark.parametrize("suffix", PACKED)
def test_every_flipped_bit_of_a_compressed_segment_is_detected_or_harmless(
    segment: tuple[DataDirectory, Segment], suffix: str
) -> None:
    data, each = segment
    scratch = data.root / "scratch"
    scratch.mkdir()
    packed, compressed = pack(each, suffix)
    whole = 0
    for bit, flipped in flips(compressed):
        packed.path.write_bytes(flipped)
        ids_kept, damaged = kept_by(data, packed, scratch)
        assert damaged or ids_kept == LINES, bit
        assert set(ids_kept) <= set(LINES), bit
        whole += not damaged
    assert whole < PACKED[suffix][1]


@pytest.mark.long
@pytest.mark.parametrize("suffix", PACKED)
def test_truncated_compressed_segment_gives_the_lines_before_the_end(
    segment: tuple[DataDirectory, Segment], suffix: str
) -> None:
    data, each = segment
    scratch = data.root / "scratch"
    scratch.mkdir()
    packed, compressed = pack(each, suffix)
    found = []
    for length in range(len(compressed)):
        packed.path.write_bytes(compressed[:length])
        ids_kept, damaged = kept_by(data, packed, scratch)
        assert damaged and ids_kept == LINES[: len(ids_kept)], length
        found.append(len(ids_kept))
    assert found == sorted(found) and found[-1] == len(LINES)


# An abandoned active segment: truncated at each byte of ten lines, and of the last
# three of a longer file.


@pytest.mark.parametrize(("lines", "last"), [(10, 10), (40, 3)])
def test_truncated_active_segment_keeps_every_complete_line(tmp_path: Path, lines: int, last: int) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line(f"event-{number:02d}", visitor=None, ua=None) for number in range(lines)])
    content = (data.log / name.file).read_bytes()
    ends = [position + 1 for position, byte in enumerate(content) if byte == 10]
    first = 0 if last == lines else ends[-last - 1]
    for length in range(first, len(content)):
        for path in (*data.log.iterdir(), *data.quarantine.iterdir()):
            path.unlink()
        data.active("0").write_bytes(content[:length])
        found = recover(data, "0")
        whole = sum(end <= length for end in ends)
        torn = content[ends[whole - 1] if whole else 0 : length]
        assert found is not None
        assert (found.lines, found.quarantined) == (whole, 1 if torn else 0), length
        if whole:
            (kept,) = sealed_segments(data)
            assert kept.path.read_bytes() == content[: ends[whole - 1]], length


# Parts.


@pytest.mark.parametrize("kind", [pytest.param("archive", marks=pytest.mark.long), "counters"])
def test_every_flipped_bit_and_every_cut_of_a_part_is_detected(
    folded: DataDirectory, tmp_path: Path, kind: str
) -> None:
    kept = load_snapshot(folded).days[DAY]
    part, *_ = kept.archive if kind == "archive" else kept.counters
    content = folded.part(kind, DAY, part.generation).read_bytes()
    path = tmp_path / "part"
    path.write_bytes(content)
    assert part_error(path, part) is None
    for place, left in [*flips(content), *cuts(content)]:
        path.write_bytes(left)
        assert part_error(path, part) is not None, place


def again(data: DataDirectory) -> None:
    """A pass that reads the archive for duplicates and adds to the counters."""
    sealed(data, [line("event-1"), line("event-7")])
    fold(data)


GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "0.1.0.tar.gz"
DAMAGED_PARTS = [("archive", 1), ("counters", 3)]


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damaged_index_of_ids_is_made_again(
    folded: DataDirectory, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    data = copy_of(folded, tmp_path)
    damage(data.part("ids", DAY, 1))
    sealed(data, [line("event-1")])
    log = SilentLog()
    done = fold(data, log=log)
    assert "part_damaged" in log.events()
    assert done.snapshot.totals.duplicates == load_snapshot(folded).totals.duplicates + 1
    assert_verified(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_pass_that_reads_a_damaged_part_publishes_nothing(
    folded: DataDirectory, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    data = copy_of(folded, tmp_path)
    path = data.part("archive", DAY, 1)
    before = data.snapshot.read_bytes()
    damage(path)
    with pytest.raises(PartDamaged) as caught:
        again(data)
    problem = "changed" if path.exists() else "missing"
    assert (caught.value.path, caught.value.day, caught.value.error.problem) == (path, DAY, problem)
    assert "foldlog rebuild" in str(caught.value)
    assert data.snapshot.read_bytes() == before
    found = findings(data)
    assert [(each.where, "foldlog rebuild" in each.action) for each in found] == [
        (str(path.relative_to(data.root)), True)
    ]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "generation"), DAMAGED_PARTS)
def test_rebuild_restores_a_damaged_part_from_the_log(
    folded: DataDirectory, tmp_path: Path, kind: str, generation: int
) -> None:
    data = copy_of(folded, tmp_path)
    whole = archived(data), load_snapshot(data).totals
    flip(data.part(kind, DAY, generation))
    damaged = data.part(kind, DAY, generation).read_bytes()
    log = SilentLog()
    (change,) = rebuilt(data, log, dry_run=True)
    assert (change.damaged, change.lost) == (1, 0)
    assert load_snapshot(data).generation == 3
    rebuilt(data, log)
    assert (archived(data), load_snapshot(data).totals) == whole
    assert [path.read_bytes() for path in data.quarantine.iterdir()] == [damaged]
    assert "part_damaged" in log.events()
    again(data)
    assert_verified(data)
    assert load_snapshot(data).totals.counted == 4


@pytest.mark.long
def test_rebuild_reports_events_that_the_retained_log_lacks(folded: DataDirectory, tmp_path: Path) -> None:
    data = copy_of(folded, tmp_path)
    for path in [path for path in data.log.iterdir() if path.stem.endswith("1")]:
        path.unlink()
    flip(data.part("archive", DAY, 1))
    (change,) = rebuilt(data, SilentLog())
    assert (change.events_before, change.events_after, change.damaged, change.lost) == (3, 2, 1, 1)
    assert ids(data) == ["event-2", "event-3"]
    totals = load_snapshot(data).totals
    assert (totals.lines, totals.counted, totals.duplicates, totals.quarantined) == (3, 2, 0, 1)
    assert_verified(data)


# The findings of `foldlog verify`.


@pytest.mark.parametrize(
    ("name", "flipped", "gone"),
    [
        ("log/*1.ndjson", ["log/*1.ndjson", "log/*1.ndjson at byte 0"], []),
        ("log/*1.sha256", ["log/*1.ndjson"], ["log/*1.ndjson"]),
        ("archive/*/*1.parquet", ["archive/*/*1.parquet"], ["archive/*/*1.parquet"]),
        ("counters/*/*3.parquet", ["counters/*/*3.parquet"], ["counters/*/*3.parquet"]),
        ("snapshot.json", ["snapshot.json"], ["snapshot.json"]),
        ("snapshot.1.json", ["snapshot.1.json"], []),
    ],
)
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_verify_reports_the_file_and_the_action(
    folded: DataDirectory,
    tmp_path: Path,
    name: str,
    flipped: list[str],
    gone: list[str],
    damage: Callable[[Path], None],
) -> None:
    data = copy_of(folded, tmp_path)
    (path,) = data.root.glob(name)
    damage(path)
    found = findings(data)
    expected = gone if damage is Path.unlink else flipped
    assert [fnmatch(each.where, where) for each, where in zip(found, expected, strict=True)] == [True] * len(
        expected
    ), found
    assert all(each.problem and each.action for each in found)
