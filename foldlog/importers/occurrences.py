"""Requests that a log has several times in the same words, but for the client's
address: the second gets another id than the first, and the same one at each import.

Counts are kept for the last 65,536 to 131,072 events of a file, so memory does not grow
with it. Equal lines have the time in them and stand closer together than that.
"""

from __future__ import annotations

import hashlib

WINDOW = 1 << 16
_ID = 32


class Occurrences:
    """Of one file."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._before: dict[bytes, int] = {}

    def number(self, events: list[bytes]) -> list[bytes]:
        """Events, each of which begins with its id of 32 characters."""
        made: list[bytes] = []
        while events:
            room = WINDOW - len(self._recent)
            made += self._numbered(events[:room])
            events = events[room:]
            if len(self._recent) >= WINDOW:
                self._before, self._recent = self._recent, {}
        return made

    def _numbered(self, events: list[bytes]) -> list[bytes]:
        recent, before = self._recent, self._before
        ids = [each[:_ID] for each in events]
        fresh = dict.fromkeys(ids, 1)
        if len(fresh) == len(ids) and recent.keys().isdisjoint(fresh) and before.keys().isdisjoint(fresh):
            recent |= fresh
            return events
        made = []
        for id_, event in zip(ids, events, strict=True):
            count = recent.get(id_) or before.get(id_, 0)
            recent[id_] = count + 1
            made.append(_repeated(id_, count + 1) + event[_ID:] if count else event)
        return made


def _repeated(id_: bytes, occurrence: int) -> bytes:
    return hashlib.sha256(b"%b\n%d" % (id_, occurrence)).hexdigest()[:32].encode("ascii")
