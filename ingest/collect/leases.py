"""What a busy client may send without another look at the table or the store: it was
counted in advance, 2, 4, 8… times as much as the client needed, up to a 64th of each
limit.

What is not used before a lease ends is lost to the client.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest.rate_store.store import NOTHING, Amounts

LEASES_MIN = 64
LEASES_MAX = 4096
_TIMES_MAX = 1 << 20


@dataclass(slots=True)
class _Lease:
    """`left` is unused, and ends at `until`. `times`: how much was counted the last
    time, by what was needed.
    """

    until: float
    times: int
    left: Amounts


class Leases:
    """Those of one worker, by client. A limit of 0 is none. Times are those of the
    caller's clock.
    """

    def __init__(self, limits: Amounts) -> None:
        self._limits = limits
        self._most = Amounts(*(limit // LEASES_MIN for limit in limits))
        self._held: dict[str, _Lease] = {}

    def __len__(self) -> int:
        return len(self._held)

    def use(self, client: str, amounts: Amounts, now: float) -> bool:
        """Take all of these amounts from a lease, or nothing."""
        lease = self._held.get(client)
        if lease is None or now >= lease.until:
            return False
        (requests, events, bytes_), (a, b, c), (x, y, z) = amounts, lease.left, self._limits
        if (x and requests > a) or (y and events > b) or (z and bytes_ > c):
            return False
        lease.left = Amounts(max(0, a - requests), max(0, b - events), max(0, c - bytes_))
        return True

    def is_busy(self, client: str, now: float) -> bool:
        """Whether it has a lease, of which something may be left."""
        lease = self._held.get(client)
        return lease is not None and now < lease.until

    def left(self, client: str, now: float) -> Amounts:
        lease = self._held.get(client)
        return lease.left if lease is not None and now < lease.until else NOTHING

    def missing(self, client: str, amounts: Amounts, now: float) -> Amounts:
        """How much of these amounts no lease holds."""
        left = self.left(client, now)
        return Amounts(*(max(0, amount - held) for amount, held in zip(amounts, left, strict=True)))

    def more(self, client: str, missing: Amounts, now: float) -> Amounts:
        """How much to count in place of what is missing: as much for a client that is
        not busy, or has no limit that could be leased.
        """
        lease = self._held.get(client)
        if lease is None or now >= lease.until:
            return missing
        times = lease.times * 2
        return Amounts(
            *(max(amount, min(amount * times, most)) for amount, most in zip(missing, self._most, strict=True))
        )

    def keep(self, client: str, counted: Amounts, used: Amounts, now: float, until: float) -> None:
        """Lease what was counted, with what was left before, less what is used."""
        lease = self._held.get(client)  # another request of the client may have made one meanwhile
        if lease is not None and now < lease.until:
            rest = zip(lease.left, counted, used, strict=True)
            lease.left = Amounts(*(max(0, held + more - less) for held, more, less in rest))
            lease.times, lease.until = min(lease.times * 2, _TIMES_MAX), until
            return
        if len(self._held) >= LEASES_MAX:
            self._held.clear()
        left = NOTHING if counted == used else Amounts(*(more - less for more, less in zip(counted, used, strict=True)))
        self._held[client] = _Lease(until, 1, left)
