"""Disks that are full, break or stand still, errors at any call, clocks that jump,
stopped processes (P1, P9).
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest

from compactor.process import compact_once
from ingest.collect.encode import encode_lines
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import DiskFull, Unavailable
from shared.disk.control_files import Watch, touch
from shared.segments.sealed import active_segments, sealed_segments
from tests.builders.logs import data_directory, line, sealed
from tests.builders.silent_log import SilentLog
from tests.faults import errors
from tests.faults.file_systems import CannotMount, disk, run, small_tmpfs
from tests.faults.oracle import Ledger
from tests.faults.small_server import assert_no_violations, lines_for, send, settings_for, settle, writer_of
from tests.faults.traced_runs import WORKLOADS, segment_of


@contextmanager
def mounting() -> Iterator[None]:
    """Skip where nothing can be mounted."""
    try:
        yield
    except CannotMount as why:
        pytest.skip(str(why))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """What the client writes down, on no path of the server's."""
    (tmp_path / "ledgers").mkdir()
    kept = Ledger(tmp_path / "ledgers", "client")
    yield kept
    kept.close()


async def test_group_that_is_handed_to_a_dying_writer_is_refused(tmp_path: Path) -> None:
    """The thread has answered one group and fails while the next is on its way: nobody
    may wait for ever.
    """
    writer = writer_of(tmp_path)
    fails = threading.Event()

    def defect() -> bool:
        if writer.segment_writer.active is None or not writer.segment_writer.active.lines:
            return False
        fails.wait(60)
        raise RuntimeError("a defect")

    writer.segment_writer.seal_if_due = defect  # type: ignore[method-assign]
    await writer.append(encode_lines([line("event-0001")]), 1)
    second = writer.append(encode_lines([line("event-0002")]), 1)
    await asyncio.sleep(0)
    fails.set()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(second, 60)
    assert writer.waiting == (0, 0)
    await writer.close()


def test_request_that_cannot_be_looked_at_is_seen_later(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    place.mkdir()
    watch = Watch(place / "seal.request")
    touch(place / "seal.request")
    place.rename(elsewhere)
    place.write_bytes(b"no directory: looking into it is an error of its own")
    assert not watch.requested()
    place.unlink()
    elsewhere.rename(place)
    assert (watch.requested(), watch.requested()) == (True, False)


@pytest.mark.component
@pytest.mark.crash
def test_error_at_any_call_costs_nothing_that_was_acknowledged() -> None:
    """Some points of `python -m tests.faults.errors`, which makes all."""
    if shutil.which("strace") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("strace is not installed")
    outcome = errors.run(list(WORKLOADS), 12, 3, "")
    assert outcome.runs == 12
    assert outcome.failures == []


async def test_short_write_of_every_length_is_undone(tmp_path: Path, ledger: Ledger) -> None:
    """RLIMIT_FSIZE lets the kernel write what fits and refuse the rest; the next event
    goes into a new segment.
    """
    writer = writer_of(tmp_path / "data", segment_max_bytes=1 << 20)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    length, refused = 1, 0
    while refused < length:
        assert await send(writer, ledger, [f"kept-{refused:04d}"])
        assert writer.segment_writer.active is not None
        length = writer.segment_writer.active.bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (length + refused, unlimited[1]))
        try:
            with pytest.raises(DiskFull):
                await writer.append(lines_for([f"torn-{refused:04d}"]), 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        refused += 1
    await writer.close()
    assert refused > 150
    assert_no_violations(
        tmp_path / "data", tmp_path / "ledgers"
    )  # what was refused would be a phantom: nobody intended it


@pytest.mark.component
async def test_disk_without_inodes_is_full_and_recovers_by_itself(tmp_path: Path, ledger: Ledger) -> None:
    with mounting(), small_tmpfs(tmp_path / "disk", "size=4m,nr_inodes=200") as place:
        root = place / "data"
        writer = writer_of(root)
        assert await send(writer, ledger, ["event-0001"])
        take_inodes(place / "taken")
        assert await send(writer, ledger, ["event-0002"]), "an open segment needs no inode"
        writer.segment_writer.seals.due_at = 0  # its age is up: the checksum beside it and the next segment need one
        await until_refused(writer, ledger)
        shutil.rmtree(place / "taken")
        assert await send(writer, ledger, ["event-0003"])
        await writer.close()
        assert_no_violations(root, tmp_path / "ledgers")
        await settle(root)
        assert_no_violations(root, tmp_path / "ledgers", folded=True)


def take_inodes(place: Path) -> None:
    place.mkdir()
    with suppress(OSError):
        for number in range(1_000):
            (place / str(number)).touch()


async def until_refused(writer: CommitQueue, ledger: Ledger) -> None:
    for number in range(200):
        ids = [f"waiting-{number:04d}"]
        ledger.intend(ids)
        try:
            await writer.append(lines_for(ids), 200)
        except DiskFull:
            return
        ledger.acknowledge(ids)
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was refused")


@pytest.mark.component
def test_pass_on_a_full_disk_leaves_what_was_and_goes_on_when_there_is_room(tmp_path: Path, ledger: Ledger) -> None:
    """However many pages are free, from none to enough: a part, the snapshot or what
    lies beside them does not fit.
    """
    with mounting(), small_tmpfs(tmp_path / "disk", "size=2m") as place:
        data = data_directory(place / "data")
        segment_of(data, ledger, "folded").seal()
        compact_once(data, settings_for(data.root), SilentLog())
        segment_of(data, ledger, "sealed").seal()
        failed = 0
        for free_pages in (0, 1, 2, 3, 5, 8, 12):
            fill(place, free_pages)
            try:
                compact_once(data, settings_for(data.root), SilentLog())
            except (OSError, duckdb.Error):
                failed += 1
            (place / "ballast").unlink()
            assert_no_violations(data.root, tmp_path / "ledgers")
        assert failed >= 2
        compact_once(data, settings_for(data.root), SilentLog())
        assert_no_violations(data.root, tmp_path / "ledgers", folded=True)
        assert not list(data.root.rglob("*.tmp"))


def fill(place: Path, free_pages: int) -> None:
    room = os.statvfs(place)
    (place / "ballast").write_bytes(bytes(max(0, room.f_bavail - free_pages) * room.f_frsize))


@pytest.mark.component
async def test_disk_that_became_read_only_refuses_and_loses_nothing(tmp_path: Path, ledger: Ledger) -> None:
    """An error of ext4 with errors=remount-ro; the next boot mounts it again."""
    with mounting(), disk(tmp_path / "disk", "ext4") as made:
        run("mount", "-o", "remount,errors=remount-ro", made.place)
        root = made.place / "data"
        writer = writer_of(root)
        assert await send(writer, ledger, ["event-0001"])
        trigger = Path("/sys/fs/ext4") / device_of(made.place) / "trigger_fs_error"
        trigger.write_text("1")
        ledger.intend(["event-0002"])
        with pytest.raises(Unavailable) as refused:
            await writer.append(lines_for(["event-0002"]), 200)
        assert refused.value.code == "unavailable"
        await writer.close()
        made.give_power()
        assert_no_violations(root, tmp_path / "ledgers")
        await settle(root)
        assert_no_violations(root, tmp_path / "ledgers", folded=True)


def device_of(place: Path) -> str:
    (source,) = [
        line.split()[0]
        for line in Path("/proc/mounts").read_text("utf-8").splitlines()
        if line.split()[1] == str(place)
    ]
    return Path(source).name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_log_that_may_not_be_listed_is_not_taken_for_an_empty_one() -> None:
    """The next sequence number is read from it: of an empty one, a number would be
    given to a second segment.
    """
    nobody = 65534
    with TemporaryDirectory() as place:
        data = data_directory(Path(place) / "data")
        sealed(data, [line("event-0001")])
        for directory in (Path(place), data.root):
            directory.chmod(0o755)
        os.chown(data.log, nobody, -1)
        data.log.chmod(0o300)
        os.seteuid(nobody)
        try:
            for listing in (sealed_segments, active_segments):
                with pytest.raises(PermissionError):
                    listing(data)
        finally:
            os.seteuid(0)
        assert len(sealed_segments(data)) == 1
