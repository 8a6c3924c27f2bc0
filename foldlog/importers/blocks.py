"""Whole lines of a file in blocks of bounded size.

NULs, which a crash or a truncation leaves in a log, are dropped. Of a line that is too
long only the beginning is kept. A last line without its newline is not whole: it waits
for the next import.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from foldlog.importers.decompress import pieces
from shared.disk.compression import DecompressionError

BLOCK_BYTES = 4 << 20
LINE_MAX_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Lines without the last newline; empty if it has no whole line. `too_long`: behind
    them was one more line, which is longer than LINE_MAX_BYTES and begins so.
    """

    content: bytes
    too_long: bytes = b""


class Blocks:
    """The blocks of one file. Afterwards `unfinished` says whether its last line waits,
    and `damage` why its end could not be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.unfinished = False
        self.damage: DecompressionError | None = None

    def __iter__(self) -> Iterator[Block]:
        waiting: list[bytes] = []
        size = 0
        for piece in self._pieces():
            waiting.append(piece)
            size += len(piece)
            if size < BLOCK_BYTES:
                continue
            content = b"".join(waiting)
            end = content.rfind(b"\n")
            if end >= 0:
                yield Block(content[:end])
                content = content[end + 1 :]
            if len(content) > LINE_MAX_BYTES:
                yield Block(b"", content[:1024])
                content = self._skip_line()
            waiting, size = [content], len(content)
        content = b"".join(waiting)
        end = content.rfind(b"\n")
        self.unfinished = len(content) > end + 1
        if end >= 0:
            yield Block(content[:end])

    def _pieces(self) -> Iterator[bytes]:
        """Decompressed, without NULs and byte order mark, in pieces of any size; they
        end where damage begins.
        """
        self._source = self._readable()
        return self._source

    def _readable(self) -> Iterator[bytes]:
        begins = True
        try:
            for piece in pieces(self._file):
                kept = piece.replace(b"\0", b"") if b"\0" in piece else piece
                if begins and kept:
                    kept, begins = kept.removeprefix(_BOM), False
                if kept:
                    yield kept
        except DecompressionError as error:
            self.damage = error

    def _skip_line(self) -> bytes:
        """What follows the end of a line that is too long."""
        for piece in self._source:
            end = piece.find(b"\n")
            if end >= 0:
                return piece[end + 1 :]
        return b""
