"""The JSON objects of a stream, one after the other, in bounded memory: those of an
array, of lines, or of several arrays behind each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from foldlog.importers.exports.limits import VISIT_MAX_BYTES, BrokenExport
from foldlog.importers.exports.records import without_mark

_BETWEEN = re.compile(rb"[\s,\[\]]*")
# A brace, a whole text, or the beginning of one whose end is not read yet.
_STRUCTURE = re.compile(rb'[{}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"|"', re.DOTALL)
_IN_TEXT = re.compile(rb'["\\]')


class Found(NamedTuple):
    """The line on which an object begins, and its bytes."""

    line: int
    content: bytes


class Objects:
    """`name` is for messages. Raises BrokenExport where something else than an object
    stands, where one is longer than VISIT_MAX_BYTES, and where the last does not end.
    """

    def __init__(self, pieces: Iterable[bytes], name: str) -> None:
        self._pieces, self._name = pieces, name
        self._line = 1
        self._restart()

    def _restart(self) -> None:
        self._depth, self._at, self._is_text = 0, 0, False

    def __iter__(self) -> Iterator[Found]:
        waiting = b""
        for piece in without_mark(self._pieces):
            waiting += piece
            begun = 0
            while (end := self._end(waiting, begun)) is not None:
                begun, found = self._cut(waiting, begun, end)
                yield found
            waiting = self._rest(waiting, begun)
        if waiting.strip(b" \t\r\n,[]"):
            raise self._broken("ends in the middle of a visit", _before(waiting, 0))

    def _end(self, content: bytes, begun: int) -> int | None:
        """The end of the object that begins at `begun`, but for what is between; None
        where more must be read first. Each byte is looked at once.
        """
        if not self._depth:
            between = _BETWEEN.match(content, begun)
            start = between.end() if between else begun
            if start == len(content):
                return None
            if content[start] != ord("{"):
                raise self._broken("something else than a visit", content.count(b"\n", begun, start))
            self._at, self._depth = max(self._at, start + 1), 1
        while match := (_IN_TEXT if self._is_text else _STRUCTURE).search(content, self._at):
            self._at = match.end()
            self._take(match[0])
            if self._at > len(content):
                return None
            if not self._depth:
                return self._at
        self._at = max(self._at, len(content))
        return None

    def _take(self, sign: bytes) -> None:
        if self._is_text:
            self._at += sign == b"\\"
            self._is_text = sign != b'"'
        elif sign == b'"':
            self._is_text = True
        elif len(sign) == 1:
            self._depth += 1 if sign == b"{" else -1

    def _cut(self, content: bytes, begun: int, end: int) -> tuple[int, Found]:
        start = content.index(b"{", begun)
        self._line += content.count(b"\n", begun, start)
        found = Found(self._line, content[start:end])
        self._line += content.count(b"\n", start, end)
        self._restart()
        self._at = end
        return end, found

    def _rest(self, content: bytes, begun: int) -> bytes:
        """What is not taken apart yet; of what is between objects nothing is kept."""
        if not self._depth:
            self._line += content.count(b"\n", begun)
            self._restart()
            return b""
        if len(content) - begun > VISIT_MAX_BYTES:
            raise self._broken(f"a visit that is longer than {VISIT_MAX_BYTES:,} bytes", _before(content, begun))
        self._at -= begun
        return content[begun:]

    def _broken(self, what: str, further: int = 0) -> BrokenExport:
        return BrokenExport(
            f"{self._name} line {self._line + further}: {what}. What is before it is appended; mend the file and "
            "import it again: each visit counts once"
        )


def _before(content: bytes, begun: int) -> int:
    """How many lines there are before the object behind `begun`."""
    return content.count(b"\n", begun, max(content.find(b"{", begun), begun))
