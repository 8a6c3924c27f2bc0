"""A new process believes what another of this host has checked, and nothing else."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from shared.disk.file_identity import file_identity
from shared.disk.layout import DataDirectory
from shared.generations import checked_parts, part_integrity
from shared.generations.checked_parts import FILE_MAX_BYTES, TRUSTED_S, Record, record_checked, was_checked
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged, verified_part
from shared.generations.snapshot import Part
from tests.builders.logs import NOON, data_directory, fold, line, sealed

DAY = date(2026, 11, 22)
SIZE = 8 << 20


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    data = data_directory(tmp_path / "data")
    data.run.mkdir(mode=0o700, exist_ok=True)
    return data


@pytest.fixture
def part(data: DataDirectory) -> Part:
    """One that this process has checked, and so recorded."""
    content = random.Random(1).randbytes(SIZE)
    path = data.part("archive", DAY, 1)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    part = Part(1, 1, SIZE, sha256(content).hexdigest())
    assert bytes_read(data, part) >= SIZE
    assert bytes_read(data, part) < SIZE
    return part


def bytes_read(data: DataDirectory, part: Part) -> int:
    """What the kernel counts while the part is verified."""
    before = _read_chars()
    verified_part(data, "archive", DAY, part)
    return _read_chars() - before


def _read_chars() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def new_process() -> None:
    """Forget what only this process knows."""
    part_integrity._verified.clear()
    checked_parts._known.clear()


def test_part_that_another_process_checked_is_not_read_again(data: DataDirectory, part: Part) -> None:
    new_process()
    assert bytes_read(data, part) < SIZE
    assert data.checked_parts.stat().st_mode & 0o777 == 0o600


def test_part_without_a_record_is_read(data: DataDirectory, part: Part) -> None:
    data.checked_parts.unlink()
    new_process()
    assert bytes_read(data, part) >= SIZE


def test_damage_is_found_whatever_its_mtime_says(data: DataDirectory, part: Part) -> None:
    path = data.part("archive", DAY, 1)
    before = path.stat()
    time.sleep(0.05)  # longer than the clock of files ticks
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"damage")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    new_process()
    with pytest.raises(PartDamaged):
        verified_part(data, "archive", DAY, part)


def test_record_of_other_bytes_is_no_record(data: DataDirectory, part: Part) -> None:
    """The snapshot names what a damaged file no longer is."""
    other = msgspec.structs.replace(part, sha256="0" * 64)
    new_process()
    with pytest.raises(PartDamaged):
        verified_part(data, "archive", DAY, other)


def replaced(**changes: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        records = [msgspec.json.decode(each, type=Record) for each in content.split()]
        made = [msgspec.structs.replace(each, **changes) for each in records]
        return b"".join(msgspec.json.encode(each) + b"\n" for each in made)

    return change


UNTRUSTED: dict[str, Callable[[bytes], bytes]] = {
    "a day old": replaced(checked_at=int(time.time()) - TRUSTED_S),
    "of the future": replaced(checked_at=int(time.time()) + 3600),
    "of another boot": replaced(boot="3f6b2e0a-0000-0000-0000-000000000000"),
    "of no boot": replaced(boot=""),
    "of another file": replaced(part="archive/2026-11-21/g0000000001.parquet"),
    "of another identity": replaced(identity=(1, SIZE, 1, 1)),
    "torn": lambda content: content[: len(content) // 2],
    "torn, and another after it": lambda content: content[: len(content) // 2] + content[-40:],
    "no JSON": lambda _: b"\x00" * 300,
    "another kind of JSON": lambda _: b'{"part":"archive"}\n[1,2]\n',
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("change", UNTRUSTED.values(), ids=UNTRUSTED)
def test_part_whose_record_is_not_to_be_trusted_is_read(
    data: DataDirectory, part: Part, change: Callable[[bytes], bytes]
) -> None:
    content = data.checked_parts.read_bytes()
    data.checked_parts.write_bytes(change(content))
    new_process()
    assert bytes_read(data, part) >= SIZE
    new_process()
    assert bytes_read(data, part) < SIZE  # the new record stands beside the bad one, whatever that is


def test_records_that_others_could_have_written_are_not_trusted(data: DataDirectory, part: Part) -> None:
    data.checked_parts.chmod(0o620)
    new_process()
    assert bytes_read(data, part) >= SIZE


def test_trust_does_not_renew_itself(data: DataDirectory, part: Part) -> None:
    before = data.checked_parts.read_bytes()
    new_process()
    verified_part(data, "archive", DAY, part)
    assert data.checked_parts.read_bytes() == before


def test_directory_that_cannot_be_written_to_is_read_all_the_same(data: DataDirectory, part: Part) -> None:
    data.checked_parts.unlink()
    data.run.rmdir()
    new_process()
    assert bytes_read(data, part) >= SIZE
    assert not data.run.exists()


def test_records_are_bounded(data: DataDirectory, part: Part) -> None:
    identity = file_identity(data.part("archive", DAY, 1))
    with data.checked_parts.open("ab") as file:
        file.write(data.checked_parts.read_bytes() * (FILE_MAX_BYTES // data.checked_parts.stat().st_size + 1))
    other = data.part("archive", DAY, 2)
    record_checked(data, other, identity, part.sha256)
    assert len(data.checked_parts.read_bytes().split()) == 2
    new_process()
    assert was_checked(data, other, identity, part.sha256)
    assert bytes_read(data, part) < SIZE


def test_compactor_records_what_it_publishes(data: DataDirectory) -> None:
    sealed(data, [line(f"event-{number}", NOON) for number in range(3)])
    fold(data, NOON + 1000)
    new_process()
    found = [
        (data.part(kind, day, part.generation), part.sha256)
        for day, kept in load_snapshot(data).days.items()
        for kind, parts in (("archive", kept.archive), ("counters", kept.counters))
        for part in parts
    ]
    assert len(found) >= 2
    assert all(was_checked(data, path, file_identity(path), sha256) for path, sha256 in found)
