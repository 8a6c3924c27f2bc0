"""A log line, schema version 1: JSON whose last field is the CRC-32 of the bytes before
it (P2). docs/formats.md shows one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from isal.isal_zlib import crc32

from shared.exit_codes import UsageError

SCHEMA_VERSION = 1
CRC_BYTES = len(b',"crc":"1a2b3c4d"}')
LINE_MAX_BYTES = 256 << 10
PIECE_MAX_BYTES = 4 * LINE_MAX_BYTES

_CRC_FIELD = re.compile(rb',"crc":"([0-9a-f]{8})"}')
_BEGIN = b'{"v":'
_VERSION = re.compile(rb'{"v":(\d+),')


class DataFromNewerVersion(UsageError):
    """The data directory was written by a later Foldlog. Reading it would guess, so
    nothing is read.
    """


class ScannedLine(NamedTuple):
    """One line of a file with its byte offset; `reason` is None when its CRC holds,
    else why it is bad.
    """

    offset: int
    content: bytes
    reason: str | None


def append_crc(beginning: bytes, rests: Sequence[bytes]) -> bytes:
    """Finished log lines that begin with the same bytes and go on with each of `rests`,
    which lack their closing brace.
    """
    begun = crc32(beginning)
    # One format for all lines of a batch costs half of one for each.
    line = beginning.replace(b"%", b"%%") + b'%b,"crc":"%08x"}\n'
    return line * len(rests) % tuple([part for rest in rests for part in (rest, crc32(rest, begun))])


def line_error(line: bytes) -> str | None:
    """Why a line (with its newline) cannot be trusted, or None. Raises
    DataFromNewerVersion for a later schema.
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
        raise DataFromNewerVersion(
            f"a log line was made by a newer Foldlog (schema version {int(version[1])}; this one reads up to "
            f"{SCHEMA_VERSION}). Install that one."
        )
    return None


def iter_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file. What is longer than a line can be comes in pieces, so that
    damage of any size fits into memory.
    """
    return iter(lambda: file.readline(PIECE_MAX_BYTES), b"")


def scan_lines(lines: Iterable[bytes]) -> Iterator[ScannedLine]:
    """Look at each line of a file by itself: a bad one costs none of its neighbours,
    also when it lost its newline.
    """
    offset = 0
    for line in lines:
        reason = line_error(line)
        bad = _swallowed(line) if reason else 0
        if bad:
            yield ScannedLine(offset, line[:bad], reason)
            yield ScannedLine(offset + bad, line[bad:], None)
        else:
            yield ScannedLine(offset, line, reason)
        offset += len(line)


def _swallowed(line: bytes) -> int:
    """Where in a bad line a whole one begins whose own newline is there; 0 when none
    does.

    Inside a JSON text a quotation mark is escaped, and the CRC is of the whole line: no
    value can pose as a line.
    """
    start = line.find(_BEGIN, max(1, len(line) - LINE_MAX_BYTES))
    while start > 0 and line_error(line[start:]) is not None:
        start = line.find(_BEGIN, start + 1)
    return max(start, 0)
