"""What a store does that counts the requests of clients for several hosts.

A client's name in it is a keyed hash: no address is ever sent to a store (P11).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Amounts(NamedTuple):
    """What a hit carries, or what a limit allows in one window."""

    requests: int
    events: int = 0
    bytes: int = 0


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
    """The charge that is over its limit, and how long until one more is allowed."""

    charge: Charge
    wait_s: float


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


def charges_of(networks: Sequence[tuple[str, int]], limits: Amounts, amounts: Amounts) -> list[Charge]:
    """What a hit of `amounts` counts for each network and its multiple of the limits.
    A limit of 0 is none.
    """
    return [
        Charge(kind, network, limit * times, amount)
        for network, times in networks
        for kind, limit, amount in zip(Amounts._fields, limits, amounts, strict=True)
        if limit and amount
    ]
