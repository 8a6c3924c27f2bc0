"""The content of a file or pipe in bounded pieces, whatever it is compressed with:
gzip, zstd, xz or bzip2, by its first bytes and not by its name.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, cast

from shared.disk.compression import ZSTD_WINDOW_MAX, DecompressionError

_PIECE = 1 << 18
_READ = 1 << 16
_ZSTD_READ = 1 << 10
_MAGIC_BYTES = 6
_XZ_MEMORY_MAX = 128 << 20


class _Decompressor(Protocol):
    """Gives at most so many bytes for what it got; more waits inside."""

    def feed(self, data: bytes) -> bytes: ...

    @property
    def rest(self) -> bytes | None:
        """What follows the end of the compressed stream; None before the end."""

    @property
    def needs_input(self) -> bool: ...


class _Zlib:
    def __init__(self) -> None:
        self._object = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._waiting = b""

    def feed(self, data: bytes) -> bytes:
        out = self._object.decompress(self._waiting + data, _PIECE)
        self._waiting = self._object.unconsumed_tail
        return out

    @property
    def rest(self) -> bytes | None:
        return self._object.unused_data if self._object.eof else None

    @property
    def needs_input(self) -> bool:
        return not self._waiting


class _Bounded(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Standard:
    """bz2 and lzma have one interface."""

    def __init__(self, made: object) -> None:
        self._object = cast(_Bounded, made)

    def feed(self, data: bytes) -> bytes:
        return self._object.decompress(data, _PIECE)

    @property
    def rest(self) -> bytes | None:
        return self._object.unused_data if self._object.eof else None

    @property
    def needs_input(self) -> bool:
        return self._object.needs_input


class _Zstd:
    """Gets little at once: a byte may become 32 KiB."""

    def __init__(self) -> None:
        import zstandard

        self._object = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX).decompressobj()
        self._error = zstandard.ZstdError
        self._waiting = b""

    def feed(self, data: bytes) -> bytes:
        given, self._waiting = (self._waiting + data)[:_ZSTD_READ], (self._waiting + data)[_ZSTD_READ:]
        try:
            return self._object.decompress(given)
        except self._error as error:
            raise OSError(str(error)) from None

    @property
    def rest(self) -> bytes | None:
        return self._object.unused_data + self._waiting if self._object.eof else None

    @property
    def needs_input(self) -> bool:
        return not self._waiting


_MAKERS: dict[bytes, Callable[[], _Decompressor]] = {
    b"\x1f\x8b": _Zlib,
    b"\x28\xb5\x2f\xfd": _Zstd,
    b"BZh": lambda: _Standard(bz2.BZ2Decompressor()),
    b"\xfd7zXZ\0": lambda: _Standard(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_MAX)),
}


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The content, decompressed. Raises DecompressionError after the last piece that
    can be read.
    """
    head = _read(file, _MAGIC_BYTES)
    while head and len(head) < _MAGIC_BYTES and (more := _read(file, _MAGIC_BYTES - len(head))):
        head += more
    for magic, make in _MAKERS.items():
        if head.startswith(magic):
            yield from _decompressed(file, head, magic, make)
            return
    yield from _plain(file, head)


def _plain(file: BinaryIO, head: bytes) -> Iterator[bytes]:
    while head:
        yield head
        head = _read(file, _PIECE)


def _decompressed(file: BinaryIO, data: bytes, magic: bytes, make: Callable[[], _Decompressor]) -> Iterator[bytes]:
    decompressor = make()
    errors = (zlib.error, lzma.LZMAError, OSError, EOFError)
    while True:
        try:
            piece = decompressor.feed(data)
        except errors as error:
            raise DecompressionError(f"the compressed data is damaged ({error})") from None
        if piece:
            yield piece
        data = b""
        if decompressor.rest is not None:
            data = _next_member(file, decompressor.rest, magic)
            if not data:
                return
            decompressor = make()
        elif decompressor.needs_input:
            data = _read(file, _READ)
            if not data:
                raise DecompressionError("the compressed data is truncated")


def _next_member(file: BinaryIO, rest: bytes, magic: bytes) -> bytes:
    """What begins the next stream of the file; empty at its end. Zeros are padding."""
    rest = rest.lstrip(b"\0")
    while len(rest) < len(magic):
        more = _read(file, _READ)
        if not more:
            break
        rest = (rest + more).lstrip(b"\0")
    if rest and not rest.startswith(magic):
        raise DecompressionError("the compressed data is followed by something else")
    return rest


def _read(file: BinaryIO, size: int) -> bytes:
    """Some bytes of a file or pipe; none at its end."""
    return file.read(size)
