"""A log line, schema version 2: JSON whose last field is the CRC-32 of the bytes before
it (P2). docs/formats.md shows one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from isal.isal_zlib import crc32

from shared.exit_codes import UsageError

SCHEMA_VERSION = 2
CRC_BYTES = len(b',"crc":"1a2b3c4d"}')
LINE_MAX_BYTES = 256 << 10
PIECE_MAX_BYTES = 4 * LINE_MAX_BYTES

_CRC_FIELD = re.compile(rb',"crc":"([0-9a-f]{8})"}')
_BEGIN = b'{"v":'
_VERSION = re.compile(rb'{"v":(\d{1,9}),')  # int() raises for thousands of digits


class DataFromNewerVersion(UsageError):
    """`what` was written by a newer Foldlog: its `version` ("format", "schema version")
    is `found`, and this one reads up to `supported`. Nothing of it is read.
    """

    def __init__(self, what: str, version: str, found: int, supported: int) -> None:
        super().__init__(what, version, found, supported)
        self.what, self.version, self.found, self.supported = what, version, found, supported

    def __str__(self) -> str:
        return (
            f"{self.what} was made by a newer Foldlog ({self.version} {self.found}; this one reads up to "
            f"{self.supported}). Install that version; nothing was changed."
        )


def newer_line(found: int, what: str = "a log line") -> DataFromNewerVersion:
    """The error for a line of schema version `found`."""
    return DataFromNewerVersion(what, "schema version", found, SCHEMA_VERSION)


class ScannedLine(NamedTuple):
    """A line and its byte offset in the file. `reason` says why it is invalid; None if
    it is valid.
    """

    offset: int
    content: bytes
    reason: str | None


def append_crc(beginning: bytes, rests: Sequence[bytes]) -> bytes:
    """Complete log lines, one for each of `rests`: `beginning`, the rest (JSON without
    its closing brace), the CRC.
    """
    begun = crc32(beginning)
    # Formatting all lines of a batch at once takes half the time.
    line = beginning.replace(b"%", b"%%") + b'%b,"crc":"%08x"}\n'
    return line * len(rests) % tuple([part for rest in rests for part in (rest, crc32(rest, begun))])


def line_error(line: bytes) -> str | None:
    """Why a line, newline included, is invalid; None if it is valid. Raises
    DataFromNewerVersion.
    """
    if not line.endswith(b"\n"):
        return "torn: no newline at its end"
    field = _CRC_FIELD.fullmatch(line, len(line) - CRC_BYTES - 1, len(line) - 1)
    if field is None:
        return "no CRC at its end"
    if crc32(line[: -CRC_BYTES - 1]) != int(field[1], 16):
        return "the CRC does not match"
    version = _VERSION.match(line)
    if version is None:
        return "no schema version at its start"
    if int(version[1]) > SCHEMA_VERSION:
        raise newer_line(int(version[1]))
    return None


def iter_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file. One longer than PIECE_MAX_BYTES is returned in pieces, so
    that damage of any size fits into memory.
    """
    return iter(lambda: file.readline(PIECE_MAX_BYTES), b"")


def scan_lines(lines: Iterable[bytes]) -> Iterator[ScannedLine]:
    """Check each line of a file on its own. An invalid line does not affect the next,
    even if its newline is lost.
    """
    offset = 0
    for line in lines:
        reason = line_error(line)
        bad = _embedded_line_offset(line) if reason else 0
        if bad:
            yield ScannedLine(offset, line[:bad], reason)
            yield ScannedLine(offset + bad, line[bad:], None)
        else:
            yield ScannedLine(offset, line, reason)
        offset += len(line)


def _embedded_line_offset(line: bytes) -> int:
    """Where in an invalid line a valid one starts, which ends with its newline; 0 if
    none does.

    No value of a line can be mistaken for one: JSON escapes its quotation marks, and
    the CRC covers the whole line.
    """
    start = line.find(_BEGIN, max(1, len(line) - LINE_MAX_BYTES))
    while start > 0 and line_error(line[start:]) is not None:
        start = line.find(_BEGIN, start + 1)
    return max(start, 0)
