"""An active segment that another program displaces, at any moment: no acknowledged
line is lost.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from compactor.lock import compactor_lock
from compactor.repair.rotated_files import recover_rotated_files
from compactor.run_pass import recover_abandoned_segments
from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import DiskFull, Unavailable
from shared.disk.layout import DataDirectory, SegmentName
from shared.segments.sealed import digest, sealed_segments
from shared.settings import Settings
from shared.timestamps import now_ms
from shared.worker_stats import WorkerStats
from tests.builders.archive import archived, assert_verified
from tests.builders.disks import small_disk
from tests.builders.logs import data_directory, fold_all, line
from tests.builders.server import lines_of
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import until_async
from tests.faults.crash import HOWS, Disk, make_tree
from tests.faults.record import Mark, Recorder, Tree

Act = Callable[[Path], object]
OTHER = encode_lines([line("of-another-program")])


def start(data: DataDirectory, log: SilentLog, **settings: object) -> CommitQueue:
    return CommitQueue(data, "0", Settings(data_dir=data.root, **settings), log, stats=WorkerStats())  # type: ignore[arg-type]


def event(number: int) -> bytes:
    return encode_lines([line(f"event-{number:04d}")])


def counted(data: DataDirectory) -> list[str]:
    """The ids of all archived events, after a fold of all sealed segments that
    verifies.
    """
    fold_all(data)
    assert_verified(data)
    return sorted(row[0] for row in archived(data))


def logged(log: SilentLog, event_name: str) -> dict[str, object]:
    """The fields of the only one of them that is not pending."""
    (fields,) = [fields for name, fields in log.entries if name == event_name and fields.get("outcome") != "pending"]
    return fields


def rename(path: Path) -> Path:
    return path.rename(path.with_name(f"{path.name}.1"))


def rename_and_create(path: Path) -> None:
    rename(path)
    path.touch()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(OTHER)
    other.rename(path)


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"by hand")


# What another program does to the file, and the ids that this adds.
ACTS: dict[str, tuple[Act, list[str]]] = {
    "renamed": (rename, []),
    "renamed, another created": (rename_and_create, []),
    "moved elsewhere": (lambda path: path.rename(path.parent.parent / "moved"), []),
    "deleted": (Path.unlink, []),
    "replaced": (replace, ["of-another-program"]),
    "replaced by its copy": (replace_by_a_copy, []),
    "linked": (lambda path: os.link(path, path.with_name("backup")), []),
    "appended to": (append, []),
}
# At each moment all of them; after the first moment, some in the short tier.
OFTEN = ("renamed, another created", "deleted", "replaced")


def _row(name: str, *values: object) -> Any:
    return pytest.param(*values, marks=() if name in OFTEN else pytest.mark.long)


@pytest.mark.parametrize(("act", "more"), ACTS.values(), ids=ACTS)
async def test_displaced_segment_is_recovered_before_the_next_commit(tmp_path: Path, act: Act, more: list[str]) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    await writer.append(event(1), 1)
    await writer.append(event(2), 1)
    act(data.active("0"))
    await writer.append(event(3), 1)
    found = logged(log, "segment_displaced")
    assert (
        found["lines"] == 2 and "foldlog rotate" in str(found["action"]) and "active-0.ndjson" in str(found["reason"])
    )
    (recovered,) = [each for each in sealed_segments(data) if each.name.file == found["segment"]]
    assert digest(recovered).intact
    await writer.close()
    assert counted(data) == ["event-0001", "event-0002", "event-0003", *more]


@pytest.mark.parametrize(("act", "more"), [_row(name, *ACTS[name]) for name in ACTS], ids=ACTS)
async def test_group_in_flight_is_recovered_with_the_rest(tmp_path: Path, act: Act, more: list[str]) -> None:
    """Between the write and the check after the sync."""
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    await writer.append(event(1), 1)
    assert writer.segment_writer.active is not None
    real = writer.segment_writer.active._sync

    def displace_and_go_on(descriptor: int) -> None:
        act(data.active("0"))
        real(descriptor)

    writer.segment_writer.active._sync = displace_and_go_on
    await writer.append(event(2), 1)
    await writer.append(event(3), 1)
    await writer.close()
    assert counted(data) == ["event-0001", "event-0002", "event-0003", *more]
    assert "recovered" in log.outcomes("segment_displaced")


# Without an append after the checksum was made, which damages a sealed segment.
WHILE_SEALING = [_row(name, name, "before") for name in ACTS] + [
    _row(name, name, "during") for name in ACTS if name != "appended to"
]


@pytest.mark.parametrize(("name", "moment"), WHILE_SEALING)
async def test_segment_that_is_displaced_while_it_is_sealed_is_recovered(
    tmp_path: Path, name: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, more = ACTS[name]
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    await writer.append(event(1), 1)
    if moment == "during":  # after the last check, before the rename
        real = ActiveSegment._rename

        def displace_and_go_on(segment: ActiveSegment, name: SegmentName) -> None:
            monkeypatch.setattr(ActiveSegment, "_rename", real)
            act(segment.path)
            real(segment, name)

        monkeypatch.setattr(ActiveSegment, "_rename", displace_and_go_on)
    else:
        act(data.active("0"))
    writer.request_seal()
    await until_async(lambda: bool(sealed_segments(data)) and writer.has_segment())
    await writer.append(event(2), 1)
    await writer.close()
    assert set(counted(data)) >= {"event-0001", "event-0002", *more}
    assert {path.suffix for path in data.log.iterdir() if "Z-0-" in path.name} == {".ndjson", ".sha256"}
    assert len(list(data.log.glob("*.sha256"))) == len(sealed_segments(data))


async def test_recovery_is_counted_and_takes_the_next_number(tmp_path: Path) -> None:
    data, log, stats = data_directory(tmp_path), SilentLog(), WorkerStats()
    writer = CommitQueue(data, "0", Settings(data_dir=data.root), log, stats=stats)
    for number in range(3):
        await writer.append(event(number), 1)
        rename(data.active("0"))
    await writer.append(event(3), 1)
    await writer.close()
    assert [each.name.sequence for each in sealed_segments(data)] == [1, 2, 3, 4]
    assert (stats.segments_displaced, stats.segments_truncated) == (3, 0)


async def test_group_goes_into_a_later_segment_if_the_next_is_displaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """logrotate creates a file where the writer is about to create one, and renames the
    one after that, too.
    """
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    await writer.append(event(1), 1)
    real = ActiveSegment.__init__
    made: list[ActiveSegment] = []

    def displace_first(segment: ActiveSegment, *arguments: object) -> None:
        if not made:
            made.append(segment)
            data.active("0").touch()
        real(segment, *arguments)  # type: ignore[arg-type]
        made.append(segment)
        if len(made) == 2:
            rename(data.active("0"))

    monkeypatch.setattr(ActiveSegment, "__init__", displace_first)
    data.active("0").unlink()
    await writer.append(event(2), 1)
    assert len(made) == 3
    await writer.close()
    assert counted(data) == ["event-0001", "event-0002"]


async def test_commit_fails_when_every_segment_is_displaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    real = ActiveSegment.commit

    def displace(segment: ActiveSegment, blob: bytes, lines: int) -> None:
        segment.path.unlink()
        real(segment, blob, lines)

    monkeypatch.setattr(ActiveSegment, "commit", displace)
    with pytest.raises(Unavailable):
        await writer.append(event(1), 1)
    monkeypatch.setattr(ActiveSegment, "commit", real)
    await writer.append(event(2), 1)
    await writer.close()
    assert counted(data) == ["event-0002"]


def empty(path: Path) -> None:
    os.truncate(path, 0)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    """The same size, with other bytes."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(b"x" * (len(content) // 4))
    rename(path)


def copytruncate(path: Path) -> None:
    shutil.copy(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("act", "moment"),
    [
        (empty, "before the commit"),
        (copytruncate, "after the write"),
        (overwrite, "before the commit"),
        *(
            pytest.param(act, moment, marks=pytest.mark.long)
            for act, moment in (
                (empty, "after the write"),
                (halve, "before the commit"),
                (halve, "after the write"),
                (copytruncate, "before the commit"),
            )
        ),
    ],
)
async def test_truncated_segment_is_reported_and_not_used_again(tmp_path: Path, act: Act, moment: str) -> None:
    data, log, stats = data_directory(tmp_path), SilentLog(), WorkerStats()
    writer = CommitQueue(data, "0", Settings(data_dir=data.root), log, stats=stats)
    await writer.append(event(1) + event(2), 2)
    await writer.append(event(3), 1)
    assert writer.segment_writer.active is not None
    real = writer.segment_writer.active._sync

    def truncated_meanwhile(descriptor: int) -> None:
        act(data.active("0"))
        real(descriptor)

    if moment == "after the write":
        writer.segment_writer.active._sync = truncated_meanwhile
    else:
        act(data.active("0"))
    for number in (4, 5):
        await writer.append(event(number), 1)
    found = logged(log, "segment_truncated")
    assert (found["lines"], found["bytes"]) == (3, len(event(1)) * 3)
    assert "copytruncate" in str(found["action"])
    assert (stats.segments_displaced, stats.segments_truncated) == (0, 1)
    await writer.close()
    assert {"event-0004", "event-0005"} <= set(counted(data)), "nothing is acknowledged into it"


async def test_deleted_segment_is_recovered_once_there_is_space(tmp_path: Path) -> None:
    """Deleting the log of a full disk frees nothing: the writer has the file open until
    its copy is sealed.
    """
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    with small_disk(tmp_path / "disk", "512k") as disk:
        data, log = data_directory(disk / "data"), SilentLog()
        writer = start(data, log)
        stored = [f"event-{number:04d}" for number in range(400)]
        await writer.append(encode_lines([line(id_) for id_ in stored]), len(stored))
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        data.active("0").unlink()
        with pytest.raises(DiskFull):
            await writer.append(event(9000), 1)
        assert not writer.has_segment()
        with ballast.open("r+b") as file:
            file.truncate(0)
        await writer.append(event(9001), 1)
        assert log.outcomes("segment_displaced").count("pending") >= 1
        assert logged(log, "segment_displaced")["lines"] == 400
        await writer.close()
        assert sorted(counted(data)) == sorted([*stored, "event-9001"])


async def test_log_directory_that_is_away_is_waited_for(tmp_path: Path) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    await writer.append(event(1), 1)
    away = data.root / "away"
    data.log.rename(away)
    with pytest.raises(Unavailable) as failed:
        await writer.append(event(2), 1)
    assert not isinstance(failed.value, DiskFull)
    assert not data.log.exists()
    away.rename(data.log)
    await writer.append(event(3), 1)
    await writer.close()
    assert counted(data) == ["event-0001", "event-0003"]


@pytest.mark.crash
@pytest.mark.parametrize("act", [rename, rename_and_create, Path.unlink], ids=["renamed", "created", "deleted"])
async def test_crash_at_any_point_of_a_recovery_loses_no_file_with_a_name(tmp_path: Path, act: Act) -> None:
    """A crash loses a deleted file until its copy is sealed. Lines that are
    acknowledged after that must be there.
    """
    data = data_directory(tmp_path / "data")
    writer = start(data, SilentLog())
    await writer.append(event(1), 1)
    with Recorder(data.root) as recorder:
        act(data.active("0"))
        displaced = len(recorder.operations)
        await writer.append(event(2), 1)
        recorder.mark("acknowledged")
        await writer.close()
    acknowledged = next(place for place, each in enumerate(recorder.operations) if isinstance(each, Mark))
    disk, draw = Disk(recorder.began_with), random.Random(1)
    tried: list[Tree] = []
    for place, operation in enumerate(recorder.operations):
        disk.follow(operation)
        is_deleted = act is Path.unlink and displaced - 1 <= place < acknowledged
        wanted = set() if is_deleted else {"event-0001"}
        wanted |= {"event-0001", "event-0002"} if place >= acknowledged else set()
        for how in HOWS:
            tree = disk.crash(how, draw)
            if (place < acknowledged and tree in tried) or not wanted:
                continue
            tried.append(tree)
            again = DataDirectory(tmp_path / "again")
            shutil.rmtree(again.root, ignore_errors=True)
            make_tree(again.root, tree)
            recover_abandoned_segments(again, SilentLog())
            with compactor_lock(again):
                recover_rotated_files(again, SilentLog(), now_ms(), quiet_s=0)
            assert wanted <= {each["id"] for each in lines_of(again)}, (place, operation, how)
            assert all(digest(each).intact for each in sealed_segments(again))
    assert len(tried) > 5


async def test_pending_segment_is_sealed_when_the_writer_ends(tmp_path: Path) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    await writer.append(event(1), 1)
    data.log.rename(data.root / "away")
    with pytest.raises(Unavailable):
        await writer.append(event(2), 1)
    data.log.mkdir()
    await writer.close()
    assert counted(data) == ["event-0001"]


async def test_next_start_removes_temporary_files_of_a_killed_recovery(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    left = data.log / ".20261122T120000Z-0-0000000001.ndjson.77.77.tmp"
    of_a_compression = data.log / ".20261122T120000Z-0-0000000002.ndjson.zst.78.78.tmp"
    (data.log / "20261122T120000Z-0-0000000002.ndjson").write_bytes(event(1))
    for path in (left, of_a_compression):
        path.write_bytes(event(1))
    writer = start(data, SilentLog())
    assert not left.exists() and of_a_compression.exists()
    await writer.close()


async def test_displaced_segment_that_cannot_be_read_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, log)
    await writer.append(event(1), 1)
    moved = rename(data.active("0"))

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(ActiveSegment, "_copy", fail)
    await writer.append(event(2), 1)
    assert "pending" in log.outcomes("segment_displaced")
    assert moved.exists(), "it is left for the compactor"
    await writer.close()
    assert counted(data) == ["event-0002"]
