"""The spool: locks, bounds, full disks, and what a dead process leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from foldlog.client.batch_file import BATCH_BYTES, BATCH_EVENTS
from foldlog.client.spool import Spool, SpoolFull
from tests.builders.disks import fill, small_disk

MakeSpool = Callable[[], Spool]


@pytest.fixture
def make_spool(tmp_path: Path) -> MakeSpool:
    return lambda: Spool(tmp_path / "spool", consent="granted", max_bytes=4 * BATCH_BYTES, fsync=True)


def taken_lines(spool: Spool) -> list[bytes]:
    """All that is free, in order; and it is removed."""
    found = []
    while taken := spool.take(""):
        found += taken.lines()
        spool.let_go(taken, remove=True)
    return found


def test_active_file_is_taken_only_once_it_is_sealed(make_spool: MakeSpool) -> None:
    one, other = make_spool(), make_spool()
    assert [one.append(b"first"), one.append(b"second")] == [True, False]
    assert one.take("") is None and other.take("") is None
    one.seal()
    assert taken_lines(other) == [b"first", b"second"] and taken_lines(one) == []
    assert list(one.directory.iterdir()) == []


def test_file_that_is_being_sent_is_not_sent_by_another(make_spool: MakeSpool) -> None:
    one, other = make_spool(), make_spool()
    one.append(b"line")
    one.seal()
    taken = one.take("")
    assert taken is not None and other.take("") is None
    one.let_go(taken)
    assert taken_lines(other) == [b"line"]


def test_file_is_a_batch_at_most(make_spool: MakeSpool) -> None:
    spool = make_spool()
    for _ in range(BATCH_EVENTS + 1):
        spool.append(b"x")
    spool.append(b"y" * (BATCH_BYTES - 2))
    spool.seal()
    assert [file.read_bytes().count(b"\n") for file in sorted(spool.directory.iterdir())] == [BATCH_EVENTS, 1, 1]


def test_file_that_failed_holds_no_other_up(make_spool: MakeSpool) -> None:
    spool = make_spool()
    for line in (b"poison", b"good"):
        spool.append(line)
        spool.seal()
    first = spool.take("")
    assert first is not None
    spool.let_go(first)
    second = spool.take(first.path.name)
    assert second is not None and second.lines() == [b"good"]
    spool.let_go(second, remove=True)
    again = spool.take(first.path.name)
    assert again is not None and again.lines() == [b"poison"]
    spool.let_go(again, remove=True)


def test_torn_end_of_a_dead_process_is_no_event(make_spool: MakeSpool) -> None:
    spool = make_spool()
    spool.append(b"whole")
    spool.seal()
    (file,) = spool.directory.iterdir()
    file.write_bytes(file.read_bytes() + b"half of a li")
    assert taken_lines(spool) == [b"whole"]


def test_what_cannot_be_opened_is_passed_over(make_spool: MakeSpool, tmp_path: Path) -> None:
    spool = make_spool()
    spool.append(b"good")
    spool.seal()
    (spool.directory / "0-a.granted.ndjson").symlink_to(tmp_path / "elsewhere")
    (spool.directory / "0-b.granted.ndjson").mkdir()
    assert taken_lines(spool) == [b"good"]


def test_full_spool_refuses_and_keeps_what_it_has(make_spool: MakeSpool) -> None:
    spool, line, accepted = make_spool(), b"z" * 30_000, 0
    with pytest.raises(SpoolFull):
        for accepted in range(1000):  # noqa: B007
            spool.append(line)
    spool.seal()
    assert sum(file.stat().st_size for file in spool.directory.iterdir()) <= 4 * BATCH_BYTES
    assert taken_lines(spool) == [line] * accepted
    assert spool.append(line)  # there is room at once


def test_what_was_set_aside_makes_room_for_events(make_spool: MakeSpool) -> None:
    spool, line = make_spool(), b"z" * (BATCH_BYTES - 2)
    for _ in range(3):
        spool.append(line)
        spool.seal()
        taken = spool.take("")
        assert taken is not None
        spool.set_aside(taken)
    assert spool.take("") is None
    oldest = min(spool.directory.iterdir())
    spool.append(b"one")
    spool.seal()
    spool.append(b"two")
    spool.seal()
    assert not oldest.exists() and len(list(spool.directory.glob("*.refused"))) == 2
    assert taken_lines(spool) == [b"one", b"two"]


def test_full_disk_refuses_and_leaves_whole_lines(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        spool = Spool(disk / "spool", consent=None, max_bytes=64 << 20, fsync=False)
        spool.append(b"before")
        fill(disk / "ballast", left=16_384)
        accepted = 0
        with pytest.raises(SpoolFull, match="disk"):
            for accepted in range(100):  # noqa: B007
                spool.append(b"x" * 3000)
        for _ in range(50):
            with pytest.raises(SpoolFull):
                spool.append(b"x" * 20_000)
        assert len(list(spool.directory.iterdir())) == 1
        (disk / "ballast").unlink()
        spool.append(b"after")
        spool.seal()
        assert taken_lines(spool) == [b"before", *[b"x" * 3000] * accepted, b"after"]


def test_spool_is_for_its_user_alone(make_spool: MakeSpool) -> None:
    spool = make_spool()
    spool.append(b"line")
    modes = {each.stat().st_mode & 0o777 for each in spool.directory.iterdir()}
    assert (spool.directory.stat().st_mode & 0o777, modes) == (0o700, {0o600})
