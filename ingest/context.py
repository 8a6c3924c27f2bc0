"""What a worker's handlers share: made once at start, handed to each of them with the
request.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.collect.country import CountryLookup
from ingest.collect.rate_limit import RateLimiter
from ingest.collect.undeclared_proxy import ProxyWatch
from ingest.collect.validate import BatchOutcome
from ingest.collect.visitor_id import VisitorHash
from ingest.http.auth import Keyring
from ingest.http.body_reader import Held
from ingest.http.client_address import Client, Headers, Proxies
from ingest.wal.commit_queue import GroupCommitWriter
from reports.reader.client import Reader
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import now_ms
from shared.worker_stats import WorkerStats

DISK_LOOK_S = 1.0


@dataclass
class Service:
    """One worker: its settings, its log writer, its keys, its limits, its way to the
    reports.
    """

    settings: Settings
    data: DataDirectory
    log: Log
    writer: GroupCommitWriter
    meters: WorkerStats
    rate_limiter: RateLimiter
    keyring: Keyring
    visitor_hash: VisitorHash
    country: CountryLookup
    proxy_watch: ProxyWatch
    reader: Reader
    now_ms: Callable[[], int] = now_ms
    under_way: int = 0  # requests that are being answered
    stopping: bool = False  # each answer is the last one of its connection
    refusing: bool = False  # there is no time left for answers
    started_at: float = field(default_factory=time.monotonic)
    held: Held = field(init=False)
    proxies: Proxies = field(init=False)
    knows_countries: bool = field(init=False)
    _disk_looked_at: float = field(default=-DISK_LOOK_S, init=False)
    _disk_free: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.proxies = Proxies(self.settings)
        self.held = Held(self.settings.queue_max_bytes)
        self.knows_countries = bool(self.settings.country_header or self.settings.country_file)

    def is_rejecting(self) -> bool:
        """Whether the worker stops so soon that requests in flight get no answer."""
        return self.refusing

    @property
    def stored_status(self) -> int:
        """P1: 200 only where every accepted event was synced."""
        return 200 if self.settings.durability == "fsync" else 202

    def limit(self, address: str) -> None:
        """Count one request of a client without a key. Raises Refusal 429."""
        if not self.proxy_watch.settled:
            self.proxy_watch.saw(address)
        self.rate_limiter.check(address)

    def country_of(self, client: Client, headers: Headers) -> str | None:
        """The visitor's country, from a trusted proxy's header or the operator's
        file.
        """
        name = self.settings.country_header
        return self.country.of(client.address, headers.get(name) if name and client.through_proxy else None)

    def count(self, body_bytes: int, outcome: BatchOutcome, *, dry_run: bool) -> None:
        """Add a request that got its validated to the meters."""
        meters = self.meters
        meters.body_bytes += body_bytes
        for rejection in outcome.rejected:
            meters.rejected[rejection.code] = meters.rejected.get(rejection.code, 0) + 1
        if not dry_run:
            meters.accepted += outcome.accepted

    def forget_and_report(self) -> None:
        """What must happen though nobody asks: yesterday's salt goes, an undeclared
        proxy is noticed. Writes files.
        """
        self.visitor_hash.forget_past_days(self.now_ms())
        self.proxy_watch.report()

    def disk_free(self) -> int | None:
        """Bytes left for the data directory, looked up once a second; None when that
        cannot be outcome.
        """
        now = time.monotonic()
        if now - self._disk_looked_at >= DISK_LOOK_S:
            self._disk_looked_at = now
            try:
                found = os.statvfs(self.data.root)
                self._disk_free = found.f_bavail * found.f_frsize
            except OSError:
                self._disk_free = None
        return self._disk_free
