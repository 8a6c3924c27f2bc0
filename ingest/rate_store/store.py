"""What a store does that counts the requests of clients for several hosts.

A client's name in it is a keyed hash: no address is ever sent to a store (P11).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

# The networks of a client, narrowest first, each with its multiple of the limits.
Networks = Sequence[tuple[str, int]]


class Amounts(NamedTuple):
    """What a hit carries, or what a limit allows in one window."""

    requests: int
    events: int = 0
    bytes: int = 0

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(self[0] + other[0], self[1] + other[1], self[2] + other[2])


NOTHING = Amounts(0)


class Charge(NamedTuple):
    """`amount` of a kind that counts for a network of the client, which may have
    `limit` of it in a window.
    """

    kind: str
    network: str
    limit: int
    amount: int

    @property
    def client(self) -> str:
        """Who is counted; a store sees its hash."""
        return f"{self.kind} {self.network}"


class Refusal(NamedTuple):
    """The charge that is over its limit, how long until it is allowed, and how much of
    the limit is left meanwhile.
    """

    charge: Charge
    wait_s: float
    left: int = 0


class RateStoreFailed(Exception):
    """The store refused, or could not be reached; the message says why, without
    secrets.
    """


class RateStore(Protocol):
    """Each method but `close` raises RateStoreFailed, and may take as long as the
    network does: link.py bounds that.
    """

    async def open(self) -> None:
        """Connect, and learn the key of the hashes."""
        ...

    async def refresh(self) -> None:
        """Learn a new key where there is one, and delete what no window needs."""
        ...

    async def take(self, charges: Sequence[Charge]) -> Refusal | None:
        """Count all of them, or none if one is over its limit."""
        ...

    async def close(self) -> None:
        """End all connections, and with them the calls that still wait. `open` may
        follow.
        """
        ...


def charges_of(networks: Networks, limits: Amounts, amounts: Amounts) -> list[Charge]:
    """What a hit of `amounts` counts for each network and its multiple of the limits.
    A limit of 0 is none.
    """
    return [
        Charge(kind, network, limit * times, amount)
        for network, times in networks
        for kind, limit, amount in zip(Amounts._fields, limits, amounts, strict=True)
        if limit and amount
    ]


def longest(refusals: Iterable[Refusal | None]) -> Refusal | None:
    """The one that ends last: until then a client need not try again."""
    return max(filter(None, refusals), key=lambda refusal: refusal.wait_s, default=None)


def time_to_wait(previous: int, left: float, current: int, limit: int, window: float, amount: int = 1) -> float:
    """How long until `amount` more is allowed, given the counts of both windows and
    how much of this one is left. For ever, if that is more than the limit.
    """
    most = limit - amount + 1
    if most <= 0:
        return float("inf")
    if current >= most:  # in the next window, once enough of this one has slid out
        return left + window * (1 - most / current)
    return max(0.0, left - window * (most - current) / previous) if previous else 0.0
