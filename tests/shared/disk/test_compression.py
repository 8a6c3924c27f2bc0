"""Compressed segments: readers get the lines that were sealed, in bounded memory."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard

from compactor.repair.rebuild import rebuild
from foldlog.tail.follower import Follower, TailFilter
from shared.disk.compression import (
    ZSTD_WINDOW_MAX,
    DecompressionError,
    compressing,
    decompressed_blocks,
    open_decompressed,
)
from shared.disk.layout import COMPRESSED_SUFFIXES
from shared.generations.load import load_snapshot
from shared.segments.sealed import count_lines, digest, readable_lines, sealed_segments
from shared.settings import Settings
from shared.status import read_status
from tests.builders.archive import archived, assert_verified
from tests.builders.compressed import PACKS, packed, zstd
from tests.builders.logs import NOON, data_directory, fold, fold_all, line, sealed
from tests.builders.silent_log import SilentLog

LINES = b"".join(b'{"v":1,"id":"event-%05d"}\n' % number for number in range(20_000))


HALF = len(LINES) // 2
SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0mark"  # a skippable frame, as pzstd writes
# Every form that the command for the suffix can decompress.
FORMS: dict[str, tuple[str, bytes]] = {
    "plain": ("", LINES),
    "gzip": (".gz", gzip.compress(LINES)),
    "gzip in two members": (".gz", gzip.compress(LINES[:HALF]) + gzip.compress(LINES[HALF:])),
    "gzip with zeros after it": (".gz", gzip.compress(LINES) + bytes(1000)),
    "zstd": (".zst", zstd(LINES)),
    "zstd in two frames": (".zst", zstd(LINES[:HALF]) + zstd(LINES[HALF:])),
    "zstd with a frame to skip": (".zst", zstd(LINES[:HALF]) + SKIPPED + zstd(LINES[HALF:])),
    "zstd without checksum and size": (".zst", zstandard.ZstdCompressor(write_content_size=False).compress(LINES)),
}


@pytest.mark.parametrize(("suffix", "content"), FORMS.values(), ids=FORMS)
def test_compressed_file_is_read_as_its_content(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"20261122T120000Z-0-0000000001.ndjson{suffix}"
    path.write_bytes(content)
    assert b"".join(decompressed_blocks(path, 1 << 20)) == LINES
    assert b"".join(readable_lines(path)) == LINES
    assert count_lines(path) == 20_000
    with open_decompressed(path) as file:
        assert list(file) == LINES.splitlines(keepends=True)


@pytest.mark.parametrize("suffix", ["", *COMPRESSED_SUFFIXES])
def test_written_content_is_read_back_and_files_are_equal(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{number}.ndjson{suffix}" for number in range(2)]
    for path in files:
        with compressing(path, suffix, len(LINES)) as write:
            for each in LINES.splitlines(keepends=True):
                write(each)
    assert b"".join(decompressed_blocks(files[0], 1 << 20)) == LINES
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not suffix or files[0].stat().st_size < len(LINES) / 5


@pytest.mark.parametrize("suffix", COMPRESSED_SUFFIXES)
def test_failed_writing_raises_and_no_file_is_overwritten(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ZeroDivisionError), compressing(tmp_path / "x", suffix) as write:
        write(LINES[:100])
        raise ZeroDivisionError
    with pytest.raises(FileExistsError), compressing(tmp_path / "x", suffix):
        pass


def test_zstd_with_a_window_above_the_limit_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "20261122T120000Z-0-0000000001.ndjson.zst"
    wide = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    path.write_bytes(compressor.compress(LINES) + compressor.flush())
    assert zstandard.get_frame_parameters(path.read_bytes()).window_size > ZSTD_WINDOW_MAX
    with pytest.raises(DecompressionError):
        list(decompressed_blocks(path, 1 << 20))


@pytest.mark.parametrize("suffix", COMPRESSED_SUFFIXES)
def test_bomb_is_decompressed_in_bounded_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"20261122T120000Z-0-0000000001.ndjson{suffix}"
    with compressing(path, suffix) as write:
        for _ in range(256):
            write(bytes(1 << 20))
    tracemalloc.start()
    try:
        length = sum(len(block) for block in decompressed_blocks(path, 1 << 20))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length == 256 << 20
    assert peak < 100 << 20


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [pytest.param(*PACKS[name], marks=() if name == "zstd" else pytest.mark.long) for name in PACKS],
    ids=PACKS,
)
def test_compressed_segment_is_folded_verified_rebuilt_and_tailed(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    data = data_directory(tmp_path)
    found = packed(data, suffix, pack, "event-1", "event-2")
    assert [digest(each).intact for each in sealed_segments(data)] == [True]
    assert read_status(data, Settings(data_dir=data.root)).balance.not_yet_folded == 2
    assert len(Follower(data, TailFilter()).last(10)) == 2
    fold_all(data)
    totals = load_snapshot(data).totals
    assert (totals.counted, totals.damaged_segments, totals.quarantined) == (2, 0, 0)
    assert_verified(data)
    rebuild(data, Settings(data_dir=data.root), SilentLog(), NOON, dry_run=False)
    assert [row[0] for row in archived(data)] == ["event-1", "event-2"]
    assert_verified(data)
    assert found.path.exists()


@pytest.mark.parametrize("suffix", COMPRESSED_SUFFIXES)
def test_segment_with_two_files_is_read_once_from_the_plain_one(tmp_path: Path, suffix: str) -> None:
    """As during a compression, or after a killed one: the compressed file may be
    incomplete.
    """
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1")])
    (data.log / name.compressed(suffix)).write_bytes(b"half")
    (found,) = sealed_segments(data)
    assert found.path == data.log / name.file
    assert found.copies == [data.log / name.file, data.log / name.compressed(suffix)]
    fold(data)
    assert load_snapshot(data).totals.damaged_segments == 0


@pytest.mark.parametrize("suffix", COMPRESSED_SUFFIXES)
def test_damaged_compressed_segment_is_tailed_as_far_as_it_can_be_read(tmp_path: Path, suffix: str) -> None:
    data = data_directory(tmp_path)
    ids = [f"event-{number:04d}-{os.urandom(12).hex()}" for number in range(5_000)]
    pack = PACKS["gzip" if suffix == ".gz" else "zstd"][1]
    packed(data, suffix, lambda plain: pack(plain)[:-20_000], *ids)
    assert 0 < len(Follower(data, TailFilter()).last(10_000)) < 5_000


@pytest.mark.parametrize("suffix", COMPRESSED_SUFFIXES)
def test_retention_deletes_compressed_segments_like_plain_ones(tmp_path: Path, suffix: str) -> None:
    data = data_directory(tmp_path)
    found = packed(data, suffix, PACKS["gzip" if suffix == ".gz" else "zstd"][1], "event-1")
    later = int((found.name.sealed_at + timedelta(days=31)).timestamp() * 1000)
    for days in (0, 1, 2, 3):  # every kept snapshot must have folded it, and no step may be a jump of the clock
        fold(data, later - (3 - days) * 86_400_000 // 2)
    assert not found.path.exists()
    assert not found.checksum.exists()
