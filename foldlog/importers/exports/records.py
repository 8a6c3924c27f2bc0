"""The records of a CSV file, each with the line that it begins on, in bounded memory.

Quoted fields may have newlines in them. A record of more than 1 MiB ends the file with
an error: behind a quote that never ends, text that a visitor wrote would be taken for
rows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from foldlog.importers.exports.limits import COLUMNS_MAX, RECORD_MAX_BYTES, BrokenExport

_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")


def without_mark(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a text without the byte order mark before it."""
    remaining = iter(pieces)
    head = b""
    for piece in remaining:
        head += piece
        if len(head) >= len(_BOM):
            break
    yield head.removeprefix(_BOM)
    yield from remaining


class Record(NamedTuple):
    """`values` is None for a record that is no CSV: `text` says what is wrong."""

    line: int
    values: list[str] | None
    text: str = ""


class Records:
    """The records of one file. `name` is for messages. Text that is not UTF-8 has
    surrogates in it. Raises BrokenExport.
    """

    def __init__(self, pieces: Iterable[bytes], name: str) -> None:
        self._name = name
        self._line = 0
        self._begins = 1
        self._bytes = 0
        self._reader = csv.reader(self._lines(pieces), strict=True)

    def __iter__(self) -> Iterator[Record]:
        while True:
            self._begins, self._bytes = self._line + 1, 0
            try:
                values = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "field limit" in str(error):
                    raise self._too_long() from None
                yield Record(self._begins, None, str(error))
                continue
            if len(values) > COLUMNS_MAX:
                yield Record(self._begins, None, f"more than {COLUMNS_MAX} columns")
            elif values:
                yield Record(self._begins, values)

    def _lines(self, pieces: Iterable[bytes]) -> Iterator[str]:
        waiting = b""
        for piece in without_mark(pieces):
            if not self._line and not waiting and piece.startswith(_WIDE):
                raise BrokenExport(f"{self._name} is in UTF-16. Save it as UTF-8, and import it again")
            waiting += piece
            lines = waiting.split(b"\n")
            waiting = lines.pop()
            for line in lines:
                yield self._counted(line + b"\n")
            if self._bytes + len(waiting) > RECORD_MAX_BYTES:
                raise self._too_long()
        if waiting:
            yield self._counted(waiting)

    def _counted(self, line: bytes) -> str:
        self._line += 1
        self._bytes += len(line)
        if self._bytes > RECORD_MAX_BYTES:
            raise self._too_long()
        return line.decode("utf-8", "surrogateescape")

    def _too_long(self) -> BrokenExport:
        return BrokenExport(
            f"{self._name} line {self._begins}: a row that is longer than {RECORD_MAX_BYTES:,} bytes, or a quote that "
            "is never closed. What is before it is appended; mend the file and import it again: each row counts once"
        )


class Table:
    """Records with a header: values by column."""

    def __init__(self, records: Records) -> None:
        self._records = iter(records)
        first = next(self._records, None)
        self.header = [each.strip() for each in first.values] if first is not None and first.values else []

    def rows(self) -> Iterator[tuple[Record, dict[str, str] | None]]:
        """Each record, with its values by column; None where it has others than the
        header.
        """
        for record in self._records:
            if record.values is None or len(record.values) != len(self.header):
                yield record, None
            else:
                yield record, dict(zip(self.header, record.values, strict=True))


def is_utf8(values: Iterable[str]) -> bool:
    """Whether no value has bytes in it that are not UTF-8."""
    try:
        "".join(values).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
