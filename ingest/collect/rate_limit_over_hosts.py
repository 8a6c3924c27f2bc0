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
from collections.abc import Callable
from dataclasses import dataclass

from ingest.collect.leases import LEASES_MAX, Leases
from ingest.collect.rate_limit import RateLimiter, limits_of, too_many
from ingest.http.client_address import rate_limit_networks
from ingest.rate_store.link import ANSWER_S, StoreLink, Unanswered
from ingest.rate_store.store import Amounts, Networks, Refusal, charges_of
from shared.settings import Settings
from shared.worker_stats import WorkerStats

LEASES_PER_WINDOW = 8
# For how long a refusal of the store is remembered at most: it may have been emptied.
REFUSAL_MAX_S = 5.0

_ONE = Amounts(requests=1)


@dataclass(slots=True)
class _Refused:
    """The store is not asked before `until` for as much of the kind and the network.
    The refusal ends at `allowed_at`.
    """

    until: float
    allowed_at: float
    refusal: Refusal


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
        self._limits = limits_of(settings)
        self._window_ms = settings.rate_window_ms
        self._local, self._link, self._stats, self._clock = local, link, stats, clock
        self._lease_s = settings.rate_window_ms / 1000 / LEASES_PER_WINDOW
        self.leases, self._costs = Leases(self._limits), Leases(self._limits)
        self._asking: set[tuple[int, str]] = set()  # leases and clients for which several are being counted
        self.refused: dict[str, _Refused] = {}

    async def check(self, address: str) -> None:
        """Count one request. Raises Problem 429, with the time to wait for the next."""
        self._refuse_again(address, _ONE)
        self._local.check(address)
        await self._count_over_hosts(address, self.leases, _ONE)

    async def charge(self, address: str, amounts: Amounts) -> None:
        """Count what a request has brought. Raises Problem 429, or 413."""
        self._refuse_again(address, amounts)
        self._local.charge(address, amounts)
        await self._count_over_hosts(address, self._costs, amounts)

    def check_secret(self, name: str, limit: int, whose: str) -> None:
        """Keys and tokens are counted on each host."""
        self._local.check_secret(name, limit, whose)

    async def _count_over_hosts(self, address: str, leases: Leases, amounts: Amounts) -> None:
        networks, now = rate_limit_networks(address), self._clock()
        client = networks[0][0]
        if leases.use(client, amounts, now) or not charges_of(networks, self._limits, amounts):
            return
        try:
            refusal = await self._count(networks, leases, amounts, now)
        except Unanswered:
            self._stats.rate_store_bypassed += 1
            return
        if refusal is not None:
            self._local.give_back(address, amounts)
            self._remember(refusal)

    async def _count(self, networks: Networks, leases: Leases, amounts: Amounts, now: float) -> Refusal | None:
        """Count in the store; for a busy client the next few with it."""
        client, within_s = networks[0][0], ANSWER_S
        missing = leases.missing(client, amounts, now)
        several, asking = leases.more(client, missing, now), (id(leases), client)
        if asking in self._asking:  # another of its requests leases the next few
            return await self._take(networks, amounts, within_s)
        if several != missing:
            self._asking.add(asking)
            try:
                refusal = await self._take(networks, several, within_s)
            finally:
                self._asking.discard(asking)
            if refusal is None:
                leases.keep(client, several, amounts, now, now + self._lease_s)
                return None
            within_s = max(0.0, ANSWER_S - (self._clock() - now))  # both together take no longer than one
        refusal = await self._take(networks, amounts, within_s)
        if refusal is None:
            leases.keep(client, amounts, amounts, now, now + self._lease_s)
        return refusal

    async def _take(self, networks: Networks, amounts: Amounts, within_s: float) -> Refusal | None:
        return await self._link.take(charges_of(networks, self._limits, amounts), within_s)

    def _remember(self, refusal: Refusal) -> None:
        """Raises Problem 429."""
        if len(self.refused) >= LEASES_MAX:
            self.refused.clear()
        now, wait_s = self._clock(), refusal.wait_s
        self.refused[refusal.charge.client] = _Refused(now + min(wait_s, REFUSAL_MAX_S), now + wait_s, refusal)
        raise too_many(refusal, self._window_ms)

    def _refuse_again(self, address: str, amounts: Amounts) -> None:
        """Raises Problem 429 where the store refused as much a moment ago."""
        if not self.refused:
            return
        now = self._clock()
        for charge in charges_of(rate_limit_networks(address), self._limits, amounts):
            refused = self.refused.get(charge.client)
            if refused is not None and now < refused.until and charge.amount >= refused.refusal.charge.amount:
                raise too_many(refused.refusal._replace(wait_s=refused.allowed_at - now), self._window_ms)
