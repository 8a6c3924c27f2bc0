"""The rate limit that several hosts share (FOLDLOG_RATE_STORE).

The table of this host stands in front: a client that is over its limit here costs the
store nothing. What it lets through is counted in the store, for a busy client several
requests at a time. Where the store does not answer in time, the table alone decides.

Over all hosts, a client gets at most its limit and what leases hold: a 64th of the
limit in each worker that it reaches, and an eighth of a window old. While the store is
down, it is the limit of each host.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.collect.rate_limit import LEASES_MAX, LEASES_MIN, RateLimiter, too_many
from ingest.http.client_address import rate_limit_networks
from ingest.rate_store.link import ANSWER_S, StoreLink, Unanswered
from ingest.rate_store.store import Amounts, Charge, Refusal, charges_of
from shared.settings import Settings
from shared.worker_stats import WorkerStats

LEASES_PER_WINDOW = 8
# For how long a refusal of the store is remembered at most: it may have been emptied.
REFUSAL_MAX_S = 5.0

Networks = Sequence[tuple[str, int]]


@dataclass(slots=True)
class _Lease:
    """`size` requests of one client, counted in the store in advance; `left` of them
    are unused, and end at `until`.
    """

    until: float
    size: int
    left: int


@dataclass(slots=True)
class _Refused:
    """The store is not asked for a network before `until`; one more of the `limit`
    requests is allowed at `allowed_at`.
    """

    until: float
    allowed_at: float
    limit: int


class RateLimiterOverHosts:
    """`local` is the limit of this host, `link` leads to the store."""

    def __init__(
        self,
        settings: Settings,
        local: RateLimiter,
        link: StoreLink,
        stats: WorkerStats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = Amounts(requests=settings.rate_limit)
        self._window_ms = settings.rate_window_ms
        self._local, self._link, self._stats, self._clock = local, link, stats, clock
        self._lease_max = settings.rate_limit // LEASES_MIN
        self._lease_s = settings.rate_window_ms / 1000 / LEASES_PER_WINDOW
        self.leases: dict[str, _Lease] = {}
        self._asking: set[str] = set()  # clients for whom several requests are being counted
        self.refused: dict[str, _Refused] = {}

    async def check(self, address: str) -> None:
        """Count one request. Raises Problem 429, with the time to wait for the next."""
        networks = rate_limit_networks(address)
        now = self._clock()
        if self.refused:
            self._refuse_again(networks, now)
        self._local.check(address)
        lease = self.leases.get(networks[0][0])
        if lease is not None and lease.left and now < lease.until:
            lease.left -= 1
            return
        try:
            refusal = await self._count(networks, lease, now)
        except Unanswered:
            self._stats.rate_store_bypassed += 1
            return
        if refusal is not None:
            self._remember(refusal)

    async def _count(self, networks: Networks, lease: _Lease | None, now: float) -> Refusal | None:
        """Count a request in the store; for a busy client the next few with it."""
        client, within_s = networks[0][0], ANSWER_S
        if client in self._asking:  # another of its requests leases the next few
            return await self._link.take(self._charges(networks, 1))
        if lease is not None and now < lease.until and self._lease_max > 1:
            size = min(lease.size * 2, self._lease_max)
            if await self._take_several(networks, size) is None:
                self._keep(client, size, now)
                return None
            within_s = max(0.0, ANSWER_S - (self._clock() - now))  # both together take no longer than one
        refusal = await self._link.take(self._charges(networks, 1), within_s)
        if refusal is None:
            self._keep(client, 1, now)
        return refusal

    async def _take_several(self, networks: Networks, size: int) -> Refusal | None:
        client = networks[0][0]
        self._asking.add(client)
        try:
            return await self._link.take(self._charges(networks, size))
        finally:
            self._asking.discard(client)

    def _charges(self, networks: Networks, size: int) -> list[Charge]:
        return charges_of(networks, self._limits, Amounts(requests=size))

    def _keep(self, client: str, size: int, now: float) -> None:
        """Lease what was counted, less the request that is being answered."""
        lease = self.leases.get(client)  # another request of the client may have made one meanwhile
        left = lease.left if lease is not None and now < lease.until else 0
        if len(self.leases) >= LEASES_MAX:
            self.leases.clear()
        self.leases[client] = _Lease(now + self._lease_s, size, left + size - 1)

    def _remember(self, refusal: Refusal) -> None:
        """Raises Problem 429."""
        if len(self.refused) >= LEASES_MAX:
            self.refused.clear()
        now, wait_s, charge = self._clock(), refusal.wait_s, refusal.charge
        self.refused[charge.network] = _Refused(now + min(wait_s, REFUSAL_MAX_S), now + wait_s, charge.limit)
        raise too_many(charge.limit, self._window_ms, wait_s)

    def _refuse_again(self, networks: Networks, now: float) -> None:
        """Raises Problem 429 where the store refused a moment ago."""
        for network, _ in networks:
            refused = self.refused.get(network)
            if refused is not None and now < refused.until:
                raise too_many(refused.limit, self._window_ms, refused.allowed_at - now)
