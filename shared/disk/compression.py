"""Reading and writing plain and compressed segments. The suffix gives the method: none,
`.gz` or `.zst`.

Decompression takes bounded memory for any file: the window of zstd is limited to what
its own command accepts, and input is read in pieces whose output is bounded. zstandard
takes 4 MiB of each process, so it is loaded with the first file that needs it.
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
# The largest window that `zstd` and DuckDB accept by default; no level needs more.
ZSTD_WINDOW_MAX = 128 << 20
_READ_BLOCK = 1 << 16


class DecompressionError(OSError):
    """Compressed data that is damaged or truncated."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _gzip_decompressor() -> _Decompressor:
    return zlib.decompressobj(_GZIP)


def _zstd_decompressor() -> _Decompressor:
    import zstandard

    return cast(_Decompressor, zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX).decompressobj())


def _damage(suffix: str) -> type[Exception]:
    """The errors of a decompressor for damaged data."""
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdError
    return zlib.error


# By suffix: the decompressor, and how many bytes it gets at once. A byte expands to at
# most 1 KB with gzip, 32 KiB with zstd.
_DECOMPRESSORS: dict[str, tuple[Callable[[], _Decompressor], int]] = {
    ".gz": (_gzip_decompressor, 1 << 13),
    ".zst": (_zstd_decompressor, 1 << 10),
}


def decompressed_blocks(path: Path, size: int, suffix: str | None = None) -> Iterator[bytes]:
    """The content of a plain or compressed file in non-empty pieces; `size` bytes of
    the file are read at once.

    `suffix` is given if the name of the file lacks it. Raises DecompressionError after
    the last readable piece.
    """
    with path.open("rb") as file:
        yield from _decompressed_blocks(file, path.suffix if suffix is None else suffix, size)


def open_decompressed(path: Path) -> BinaryIO:
    """Open a plain or compressed file for reading its content. Reading raises
    DecompressionError.
    """
    return (
        cast(BinaryIO, io.BufferedReader(_DecompressedFile(path))) if path.suffix in _DECOMPRESSORS else path.open("rb")
    )


@contextmanager
def compressing(path: Path, suffix: str, plain_bytes: int = -1) -> Iterator[Callable[[bytes], object]]:
    """Create a file and yield the function that writes to it. `suffix` gives the
    method, since `path` may be a temporary name.

    `plain_bytes`: the length of the content, if known; zstd then needs a smaller window
    for reading. Deterministic.
    """
    with path.open("xb") as file:
        if suffix == ".gz":
            compressor: _Compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
        elif suffix == ".zst":
            import zstandard

            compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj(size=plain_bytes)
        else:
            yield file.write
            return
        yield lambda plain: file.write(compressor.compress(plain))
        file.write(compressor.flush())


def _decompressed_blocks(file: BinaryIO, suffix: str, size: int) -> Iterator[bytes]:
    if suffix not in _DECOMPRESSORS:
        while block := file.read(size):
            yield block
        return
    make, most = _DECOMPRESSORS[suffix]
    decompressor: _Decompressor | None = None
    is_first = True
    while block := file.read(min(size, most)):
        while block:
            if decompressor is None:  # another member or frame, or the zero padding of some programs
                block = block if is_first else block.lstrip(b"\0")
                decompressor, is_first = make() if block else None, False
                continue
            try:
                plain = decompressor.decompress(block)
            except _damage(suffix) as error:
                raise DecompressionError(str(error)) from None
            if plain:
                yield plain
            block = decompressor.unused_data
            decompressor = None if decompressor.eof else decompressor
    if decompressor is not None:
        raise DecompressionError("the compressed data is truncated")


class _DecompressedFile(io.RawIOBase):
    """A compressed file as a raw stream of its content."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._blocks = _decompressed_blocks(self._file, path.suffix, _READ_BLOCK)
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
