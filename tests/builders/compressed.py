"""Compressed forms of a segment, as operators' tools make them."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import zstandard

from shared.disk.layout import DataDirectory
from shared.segments.sealed import Segment
from tests.builders.logs import line, sealed


def zstd(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(plain)


def packed(data: DataDirectory, suffix: str, pack: Callable[[bytes], bytes], *ids: str) -> Segment:
    """A sealed segment, compressed by an operator."""
    name = sealed(data, [line(id_) for id_ in ids])
    plain = data.log / name.file
    target = data.log / name.compressed(suffix)
    target.write_bytes(pack(plain.read_bytes()))
    plain.unlink()
    return Segment(name, target)


PACKS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": (".gz", gzip.compress),
    "gzip with zeros after it": (".gz", lambda plain: gzip.compress(plain) + bytes(512)),
    "zstd": (".zst", zstd),
    "zstd in two frames": (".zst", lambda plain: zstd(plain[:99]) + zstd(plain[99:])),
    "zstd with bytes after it that are none": (".zst", lambda plain: zstd(plain) + bytes(512)),
}
