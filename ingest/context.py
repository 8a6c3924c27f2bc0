"""State shared by the request handlers of one worker process, made once at start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, field

from ingest.api.kept_filters import KeptFilters
from ingest.collect.country import CountryLookup, Place
from ingest.collect.own_traffic import OwnTraffic
from ingest.collect.rate_limit import RateLimiter, limits_of
from ingest.collect.rate_limit_over_hosts import RateLimiterOverHosts
from ingest.collect.undeclared_proxy import UndeclaredProxyDetector
from ingest.collect.validate import BatchOutcome
from ingest.collect.visitor_id import VisitorHash
from ingest.http.auth import Keyring, digest_of
from ingest.http.body_reader import BodyBudget
from ingest.http.client_address import Client, Headers, Proxies
from ingest.http.token_guesses import TokenGuesses
from ingest.observe.arrivals import Arrival, Arrivals
from ingest.observe.doctor import Doctor, DoctorCommand
from ingest.observe.last_use import LastUse
from ingest.rate_store.link import StoreLink
from ingest.rate_store.open_store import rate_store_of
from ingest.rate_store.store import Amounts
from ingest.share_links.known_links import KnownLinks
from ingest.share_links.password import PasswordTries
from ingest.sharing.with_hosts import Sharing
from ingest.wal.commit_queue import CommitQueue
from reports.reader.client import ReaderClient
from shared.disk.layout import DataDirectory
from shared.disk.room import least_room
from shared.disk.spill import sweep_spill
from shared.log import Log
from shared.rate_store import without_secrets
from shared.settings import Settings
from shared.timestamps import now_ms
from shared.worker_stats import WorkerStats

DISK_POLL_S = 1.0


@dataclass(kw_only=True)
class WorkerContext:
    """Settings, log writer, keys, limits and report reader of one worker."""

    settings: Settings
    data: DataDirectory
    log: Log
    commit_queue: CommitQueue
    stats: WorkerStats
    country: CountryLookup
    doctor_command: InitVar[DoctorCommand]
    rate_table: InitVar[int] = -1  # descriptor of the table shared by all workers; -1: this worker counts alone
    now_ms: Callable[[], int] = now_ms
    in_flight: int = 0  # requests being answered
    draining: bool = False  # the worker stops: every response closes its connection
    live_streams: int = 0  # open ones
    drained: bool = False  # the time for that is over: requests get 503 `stopping`
    started_at: float = field(default_factory=time.monotonic)
    keyring: Keyring = field(init=False)
    rate_limiter: RateLimiter = field(init=False)
    token_guesses: TokenGuesses = field(init=False)
    arrivals: Arrivals = field(init=False)
    rate_link: StoreLink | None = field(default=None, init=False)  # None: this host counts alone
    rate_limiter_over_hosts: RateLimiterOverHosts | None = field(default=None, init=False)
    visitor_hash: VisitorHash = field(init=False)
    sharing: Sharing | None = field(default=None, init=False)  # None: no store of several hosts
    undeclared_proxy: UndeclaredProxyDetector = field(init=False)
    reader: ReaderClient = field(init=False)
    kept_filters: KeptFilters = field(init=False)
    known_links: KnownLinks = field(init=False)
    password_tries: PasswordTries = field(init=False)
    last_use: LastUse = field(init=False)
    body_budget: BodyBudget = field(init=False)
    doctor: Doctor = field(init=False)
    proxies: Proxies = field(init=False)
    own_traffic: OwnTraffic = field(init=False)
    has_country_source: bool = field(init=False)
    _disk_polled_at: float = field(default=-DISK_POLL_S, init=False)
    _disk_free: int | None = field(default=None, init=False)

    def __post_init__(self, doctor_command: DoctorCommand, rate_table: int) -> None:
        self.keyring = Keyring(self.data, self.settings, self.log)
        self.rate_limiter = RateLimiter(self.settings, rate_table)
        self.token_guesses = TokenGuesses(rate_table)
        self.arrivals = Arrivals(rate_table, self.now_ms)
        self._count_over_hosts()
        self.visitor_hash = VisitorHash(self.data, self.settings)
        if self.settings.hosts_database:
            self.sharing = Sharing(self.data, self.settings, self.log, self.now_ms)
        self.undeclared_proxy = UndeclaredProxyDetector(self.data, self.settings, self.log)
        self.reader = ReaderClient(self.settings, shared=rate_table)
        self.kept_filters = KeptFilters(self.data, self.log)
        self.known_links = KnownLinks(self.data, self.log)
        self.password_tries, self.last_use = PasswordTries(), LastUse(self.data)
        self.proxies = Proxies(self.settings)
        self.doctor = Doctor(doctor_command, self.data, self.log, self.now_ms, lambda: self.draining)
        self.own_traffic = OwnTraffic(self.settings.exclude_networks)
        self.body_budget = BodyBudget(self.settings.queue_max_bytes)
        self.has_country_source = bool(self.settings.country_header or self.settings.country_file)

    def _count_over_hosts(self) -> None:
        """Count over several hosts where FOLDLOG_RATE_STORE says so."""
        settings, stats = self.settings, self.stats
        if store := rate_store_of(settings):
            self.rate_link = StoreLink(store, without_secrets(settings.rate_store), stats, self.log)
            self.rate_limiter_over_hosts = RateLimiterOverHosts(settings, self.rate_limiter, self.rate_link, stats)

    def is_drained(self) -> bool:
        """Whether the drain time is over: requests in flight get no response."""
        return self.drained

    @property
    def success_status(self) -> int:
        """200 only where every accepted event was synced to disk (P1), else 202."""
        return 202 if self.settings.durability == "os" else 200

    async def count_request(self, address: str, headers: Headers, *, keyed: bool) -> None:
        """Count one request of a client, or of its key. Raises Problem 429."""
        if keyed:
            self.count_secret(headers, self.settings.rate_limit_key, "key")
            return
        if not self.undeclared_proxy.ruled_out:
            self.undeclared_proxy.observe(address)
        if self.rate_limiter_over_hosts is None:
            self.rate_limiter.check(address)
        else:
            await self.rate_limiter_over_hosts.check(address)

    async def count_events(self, address: str, events: int, log_bytes: int, *, keyed: bool) -> None:
        """Count the events of a request without a key, and the bytes of their lines, or
        of its body if that has more: all, or none. Raises Problem 429, or 413.
        """
        if keyed:
            return
        amounts = Amounts(0, events, log_bytes)
        if self.rate_limiter_over_hosts is None:
            self.rate_limiter.charge(address, amounts)
        else:
            await self.rate_limiter_over_hosts.charge(address, amounts)

    async def count_refused(self, address: str, events: int, body_bytes: int, *, keyed: bool) -> None:
        """Count what was refused as if it were stored, as far as a limit goes. Raises
        Problem 429.
        """
        most = limits_of(self.settings)
        counted = min(events, most.events or events), min(body_bytes, most.bytes or body_bytes)
        await self.count_events(address, *counted, keyed=keyed)

    def count_secret(self, headers: Headers, limit: int, whose: str) -> None:
        """Count one request with a valid key or token. Raises Problem 429."""
        if limit:
            self.rate_limiter.check_secret(f"{whose} {digest_of(headers).hex()}", limit, whose)

    def place_of(self, client: Client, headers: Headers) -> Place:
        """Where the client is, by a trusted proxy's header or the operator's file."""
        name = self.settings.country_header
        return self.country.place(client.address, headers.get(name) if name and client.through_proxy else None)

    def record_request(
        self, body_bytes: int, outcome: BatchOutcome, seen: Iterable[Arrival] = (), *, dry_run: bool
    ) -> None:
        """Add one validated request to the stats, and show what is to be `seen` of
        it.
        """
        self.arrivals.add(seen)
        stats = self.stats
        stats.body_bytes += body_bytes
        for rejection in outcome.rejected:
            stats.rejected[rejection.code] = stats.rejected.get(rejection.code, 0) + 1
        if not dry_run:
            stats.accepted += outcome.accepted

    def run_maintenance(self) -> None:
        """Delete yesterday's salt and what dead readers left, and report an undeclared
        proxy. Writes files.
        """
        self.visitor_hash.delete_expired_salt(self.now_ms())
        sweep_spill(self.data)
        self.undeclared_proxy.report()

    def disk_free_bytes(self) -> int | None:
        """Bytes free where the data directory has the least, polled once a second; None
        if unknown.
        """
        now = time.monotonic()
        if now - self._disk_polled_at >= DISK_POLL_S:
            self._disk_polled_at = now
            try:
                self._disk_free = least_room(self.data).free_bytes
            except OSError:
                self._disk_free = None
        return self._disk_free
