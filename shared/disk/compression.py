"""Compressed segments, read and written as the lines that they hold. The name says how:
nothing more, `.gz` or `.zst`.

Inflating takes bounded memory whatever the file is: a window of zstd is at most what
its own command accepts, and a compressed file is taken in such small pieces that what
one of them holds fits. zstandard takes 4 MiB of each process, so it is loaded with the
first file that needs it.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

_GZIP = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
# What `zstd` and DuckDB read without being asked to: its levels up to 22 need no more.
ZSTD_WINDOW_MAX = 128 << 20
_READ_BLOCK = 1 << 16


class CannotInflate(OSError):
    """Compressed data that cannot be read any further: it is damaged, or ends in the
    middle.
    """


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Deflater(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _gzip_inflater() -> _Inflater:
    return zlib.decompressobj(_GZIP)


def _zstd_inflater() -> _Inflater:
    import zstandard

    return cast(_Inflater, zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX).decompressobj())


def _damage(suffix: str) -> type[Exception]:
    """What an inflater raises for damaged data."""
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdError
    return zlib.error


# How each is inflated, and how much of it at once: of a byte gzip makes at most a
# thousand, zstd 32 KiB.
_INFLATERS: dict[str, tuple[Callable[[], _Inflater], int]] = {
    ".gz": (_gzip_inflater, 1 << 13),
    ".zst": (_zstd_inflater, 1 << 10),
}


def inflated(path: Path, size: int, suffix: str | None = None) -> Iterator[bytes]:
    """What a file holds, plain or compressed, in pieces that are not empty; `size`
    bytes of it are read at once.

    `suffix` says how it is stored where its name does not. Raises CannotInflate after
    the last piece that can be had.
    """
    with path.open("rb") as file:
        yield from _inflated(file, path.suffix if suffix is None else suffix, size)


def open_inflated(path: Path) -> BinaryIO:
    """Open a file for reading what it holds, plain or compressed. Reading raises
    CannotInflate.
    """
    return cast(BinaryIO, io.BufferedReader(_Inflating(path))) if path.suffix in _INFLATERS else path.open("rb")


@contextmanager
def deflating(path: Path, suffix: str, plain_bytes: int = -1) -> Iterator[Callable[[bytes], object]]:
    """Make a file, and give the caller what writes to it. `suffix` says how it is
    stored, for `path` may be a temporary name.

    `plain_bytes` is how many will be written, where that is known: readers of zstd then
    do with a smaller window. The same content gives the same file.
    """
    with path.open("xb") as file:
        if suffix == ".gz":
            packer: _Deflater = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
        elif suffix == ".zst":
            import zstandard

            packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj(size=plain_bytes)
        else:
            yield file.write
            return
        yield lambda plain: file.write(packer.compress(plain))
        file.write(packer.flush())


def _inflated(file: BinaryIO, suffix: str, size: int) -> Iterator[bytes]:
    if suffix not in _INFLATERS:
        while block := file.read(size):
            yield block
        return
    make, most = _INFLATERS[suffix]
    inflater: _Inflater | None = None
    is_first = True
    while block := file.read(min(size, most)):
        while block:
            if inflater is None:  # another member or frame, or the zeros with which some programs fill a block
                block = block if is_first else block.lstrip(b"\0")
                inflater, is_first = make() if block else None, False
                continue
            try:
                plain = inflater.decompress(block)
            except _damage(suffix) as error:
                raise CannotInflate(str(error)) from None
            if plain:
                yield plain
            block = inflater.unused_data
            inflater = None if inflater.eof else inflater
    if inflater is not None:
        raise CannotInflate("the file ends in the middle of compressed data")


class _Inflating(io.RawIOBase):
    """A compressed file as a file of what it holds."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._blocks = _inflated(self._file, path.suffix, _READ_BLOCK)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = block
        room = memoryview(buffer).cast("B")
        count = min(len(room), len(self._rest))
        room[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
