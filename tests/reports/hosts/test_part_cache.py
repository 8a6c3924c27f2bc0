"""Parts of other hosts are kept within their bytes, whoever uses them, and read again
where they may have changed.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from reports.hosts.part_cache import UNREFERENCED_S, NoRoomForParts, PartCache
from shared.disk.layout import DataDirectory
from shared.generations.checked_parts import TRUSTED_S
from shared.generations.snapshot import Part
from tests.builders.logs import data_directory


def a_part(content: bytes) -> Part:
    return Part(1, 1, len(content), hashlib.sha256(content).hexdigest())


def a_cache(data: DataDirectory, name: str, max_bytes: int = 1000, reserve: int = 0) -> PartCache:
    own = data.root / name
    own.mkdir()
    return PartCache(data, own, max_bytes, reserve)


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return data_directory(tmp_path)


def used_before(data: DataDirectory, part: Part, seconds: float) -> None:
    path = data.host_part(part.sha256)
    os.utime(path, (time.time() - seconds, path.stat().st_mtime))


def test_part_that_one_reader_puts_another_gets(data: DataDirectory) -> None:
    one, other, part = a_cache(data, "one"), a_cache(data, "other"), a_part(b"abc")
    assert one.get(part) is None
    assert one.put(part, b"abc").read_bytes() == b"abc"
    found = other.get(part)
    assert found is not None and found.read_bytes() == b"abc"
    assert data.hosts.stat().st_mode & 0o777 == 0o700
    assert other.put(part, b"abc") == found  # fetched twice at the same time


def test_least_recently_used_are_evicted_and_stay_with_whom_uses_them(data: DataDirectory) -> None:
    cache, parts = a_cache(data, "one", max_bytes=250), [a_part(bytes([n]) * 100) for n in range(4)]
    paths = [cache.put(part, bytes([n]) * 100) for n, part in enumerate(parts)]
    for n, part in enumerate(parts):
        used_before(data, part, 100 * (4 - n))
    cache.evict({part.sha256 for part in parts})
    assert [data.host_part(part.sha256).exists() for part in parts] == [False, False, True, True]
    assert [path.read_bytes() for path in paths] == [bytes([n]) * 100 for n in range(4)]
    cache.release()
    assert [cache.get(part) is None for part in parts] == [True, True, False, False]


def test_names_stay_for_the_next_question_until_the_part_is_evicted(data: DataDirectory) -> None:
    cache, parts = a_cache(data, "one"), [a_part(b"old"), a_part(b"new")]
    paths = [cache.put(part, content) for part, content in zip(parts, (b"old", b"new"), strict=True)]
    data.host_part(parts[0].sha256).unlink()  # another reader did
    cache.release()
    assert [path.exists() for path in paths] == [False, True]
    assert [cache.get(part) for part in parts] == [None, paths[1]]


def test_use_is_noted(data: DataDirectory) -> None:
    cache, parts = a_cache(data, "one", max_bytes=100), [a_part(bytes([n]) * 100) for n in range(2)]
    for n, part in enumerate(parts):
        cache.put(part, bytes([n]) * 100)
        used_before(data, part, 1000 - n)
    cache = a_cache(data, "later", max_bytes=100)
    assert cache.get(parts[0]) is not None
    cache.evict({part.sha256 for part in parts})
    assert [data.host_part(part.sha256).exists() for part in parts] == [True, False]


def test_part_that_no_host_references_is_deleted_a_while_after_its_use(data: DataDirectory) -> None:
    cache, parts = a_cache(data, "one"), [a_part(b"old"), a_part(b"new")]
    for part, content in zip(parts, (b"old", b"new"), strict=True):
        cache.put(part, content)
    used_before(data, parts[0], UNREFERENCED_S + 1)
    (data.hosts / "README").write_text("of an operator")
    cache.evict(())
    assert sorted(path.name for path in data.hosts.iterdir()) == sorted([f"{parts[1].sha256}.parquet", "README"])


@pytest.mark.parametrize("content", [b"ab", b"abd", b""])
def test_file_that_is_not_the_part_is_fetched_again(data: DataDirectory, content: bytes) -> None:
    cache, part = a_cache(data, "later"), a_part(b"abc")
    a_cache(data, "one").put(part, b"abc")
    path = data.host_part(part.sha256)
    path.write_bytes(content)
    os.utime(path, (time.time(), time.time() - TRUSTED_S - 1))
    assert cache.get(part) is None
    assert not path.exists()


def test_intact_file_is_trusted_for_another_day(data: DataDirectory) -> None:
    cache, part = a_cache(data, "later"), a_part(b"abc")
    a_cache(data, "one").put(part, b"abc")
    path = data.host_part(part.sha256)
    os.utime(path, (0, time.time() - TRUSTED_S - 1))
    assert cache.get(part) is not None
    assert time.time() - path.stat().st_mtime < TRUSTED_S


def test_reserve_of_the_disk_is_left_alone(data: DataDirectory) -> None:
    free = os.statvfs(data.root).f_bavail * os.statvfs(data.root).f_frsize
    cache = a_cache(data, "one", reserve=2 * free)
    with pytest.raises(NoRoomForParts):
        cache.require_room(1)
    part = a_part(b"abc")
    cache.put(part, b"abc")
    cache.evict({part.sha256})
    assert list(data.hosts.iterdir()) == []


def test_where_the_data_may_only_be_read_a_process_keeps_parts_for_itself(data: DataDirectory) -> None:
    data.hosts.write_text("in the way")
    cache, part = a_cache(data, "one"), a_part(b"abc")
    assert cache.get(part) is None
    assert cache.put(part, b"abc").read_bytes() == b"abc"
    assert cache.get(part) is not None
