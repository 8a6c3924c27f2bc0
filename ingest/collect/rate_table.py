"""What each client has sent, in a table that all workers share: requests, events and
bytes of log, in this window and in the one before.

The table has a fixed size; a new client replaces the one that sent nothing for longest.
It is in memory that `foldlog serve` makes for its workers, not in a file, because it
shows which networks sent requests. It has them only as a keyed hash, whose key ends
with the process.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ingest.rate_store.store import NOTHING, Amounts, Charge, Networks, Refusal, time_to_wait
from shared.rate_table import COUNTS, KEY_BYTES, SECRETS_SIZE, SET_BYTES, SETS, TABLE_BYTES, TAG, TAGS, WAYS, is_table

_NS_PER_S = 1_000_000_000


class _Entry(NamedTuple):
    """A client's place in the table, and what it sent: requests, events and bytes in
    `window`, and the same of the window before.
    """

    tag: int
    tag_at: int
    counts_at: int
    window: int
    counts: tuple[int, ...]


class Table:
    """Amounts per client in sliding windows of `window_ns`, in `TABLE_BYTES` of memory.
    Times are in nanoseconds.

    Each client has a place in one set of eight. There is no lock, so no worker ever
    waits for one that was stopped; when two workers count the same client in the same
    microsecond, one count is lost.
    """

    def __init__(self, window_ns: int, descriptor: int = -1, clock: Callable[[], int] = time.monotonic_ns) -> None:
        if not is_table(descriptor):
            descriptor = -1
        self._memory = mmap.mmap(descriptor, TABLE_BYTES)
        if descriptor == -1:
            self._memory[:KEY_BYTES] = secrets.token_bytes(KEY_BYTES)
        self._window_ns, self._clock = window_ns, clock  # monotonic, and the same for all processes of this boot
        key = bytes(self._memory[:KEY_BYTES])
        # Cached, because a page sends a few requests in a row.
        self._tag = lru_cache(maxsize=1024)(lambda client: _tag(key, client))

    def take(self, networks: Networks, limits: Amounts, amounts: Amounts, room: Amounts = NOTHING) -> Refusal | None:
        """Count `amounts` for all of these networks, or for none if one would be over
        its multiple of the limits. There must be `room` besides, which is not counted.
        """
        window, into = divmod(self._clock(), self._window_ns)
        left_ns = self._window_ns - into
        wanted = amounts if room is NOTHING else amounts.plus(room)
        entries = []
        for network, times in networks:
            entry = self._find(network, window)
            if self._is_over(entry.counts, limits, wanted, times, left_ns):
                return self._refusal(networks, window, limits, wanted, left_ns)
            entries.append(entry)
        for entry in entries:
            self._store(entry, amounts)
        return None

    def sent(self, network: str) -> tuple[Amounts, Amounts]:
        """What counts for a network: in the window before, and in this one."""
        counts = self._find(network, self._clock() // self._window_ns).counts
        return Amounts(*counts[3:]), Amounts(*counts[:3])

    def _is_over(
        self, counts: tuple[int, ...], limits: Amounts, wanted: Amounts, times: int, left_ns: int
    ) -> bool:  # written out, on the path of every request
        requests, events, bytes_, requests_before, events_before, bytes_before = counts
        window_ns = self._window_ns
        more, most = wanted[0], limits[0]
        if most and more and requests_before * left_ns // window_ns + requests + more > most * times:
            return True
        more, most = wanted[1], limits[1]
        if most and more and events_before * left_ns // window_ns + events + more > most * times:
            return True
        more, most = wanted[2], limits[2]
        return bool(most and more and bytes_before * left_ns // window_ns + bytes_ + more > most * times)

    def _refusal(self, networks: Networks, window: int, limits: Amounts, wanted: Amounts, left_ns: int) -> Refusal:
        """The limit for which the client waits longest. To try again, it needs one more
        request, and room for an event.
        """
        found = []
        for network, times in networks:
            counts = self._find(network, window).counts
            for kind, limit, amount, now, before in zip(
                Amounts._fields, limits, wanted, counts[:3], counts[3:], strict=True
            ):
                needed, most = max(1, amount), limit * times
                used = before * left_ns // self._window_ns + now
                if limit and used + needed > most:
                    wait_ns = time_to_wait(before, left_ns, now, most, self._window_ns, needed)
                    charge = Charge(kind, network, most, needed)
                    found.append(Refusal(charge, wait_ns / _NS_PER_S, max(0, most - used)))
        return max(found, key=lambda refusal: refusal.wait_s)

    def _find(self, client: str, window: int) -> _Entry:
        """The entry of a client. A new one gets the place of the least recent."""
        tag, start = self._tag(client)
        tags = TAGS.unpack_from(self._memory, start)
        try:
            way = tags.index(tag)
        except ValueError:
            way, then, counts = self._least_recent(tags, start), window, _NONE
        else:
            then, *found = COUNTS.unpack_from(self._memory, start + TAGS.size + way * COUNTS.size)
            counts = tuple(found)
            if then < window:  # else of this one, or of the next, if another worker reached it after our clock was read
                then, counts = window, (*_NONE[:3], *counts[:3]) if then == window - 1 else _NONE
        return _Entry(tag, start + way * TAG.size, start + TAGS.size + way * COUNTS.size, then, counts)

    def _least_recent(self, tags: tuple[int, ...], start: int) -> int:
        if 0 in tags:
            return tags.index(0)
        counts = [COUNTS.unpack_from(self._memory, start + TAGS.size + way * COUNTS.size) for way in range(WAYS)]
        return counts.index(min(counts))

    def _store(self, entry: _Entry, amounts: Amounts) -> None:
        tag, tag_at, counts_at, window, counts = entry
        TAG.pack_into(self._memory, tag_at, tag)
        requests, events, bytes_, *before = counts
        now = requests + amounts[0], events + amounts[1], bytes_ + amounts[2]
        COUNTS.pack_into(self._memory, counts_at, window, *now, *before)


_NONE = (0, 0, 0, 0, 0, 0)


def _tag(key: bytes, client: str) -> tuple[int, int]:
    """The keyed hash of a client, and where its set begins."""
    digest = hashlib.blake2b(client.encode("utf-8", "surrogateescape"), digest_size=8, key=key).digest()
    tag = int.from_bytes(digest, "little") or 1
    return tag, SECRETS_SIZE + (tag % SETS) * SET_BYTES
