"""Reading what all hosts of a PostgreSQL store have published: the ledger says which
parts, and those that are neither of this host nor cached are fetched.

A host that publishes deletes the parts that it replaced. A question that finds one of
them gone begins again with the newest ledger, as consistent_read.py does; what it has
fetched stays in the cache. No transaction is open while something is computed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from reports.hosts.asked import Asked, TimezonesDiffer
from reports.hosts.combine import all_days_of, combined_days
from reports.hosts.erased import without_counters
from reports.hosts.filtered_parts import without_visitors
from reports.hosts.ledger import Host, Ledger
from reports.hosts.listed import listed, oldest_as_of
from reports.hosts.part_cache import PartCache
from reports.hosts.part_packs import PartPacks
from reports.hosts.store_link import StoreLink
from reports.hosts.stored_parts import StoredPart, StoredPartDamaged, StoredPartMissing, fetch
from reports.plan import PartOfDay, Parts
from reports.report import Source
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.exit_codes import TemporaryFailure
from shared.generations.consistent_read import TRIES
from shared.generations.part_integrity import PartDamaged, verified_part
from shared.generations.snapshot import Snapshot
from shared.stores.instance import known_instance

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")


class HostsMoved(TemporaryFailure):
    """Hosts published `tries` times in a row before the parts were fetched."""

    def __init__(self, tries: int) -> None:
        super().__init__(tries)
        self.tries = tries

    def __str__(self) -> str:
        return f"{self.tries} times a host published before all parts were fetched; try again"


class _Seen(NamedTuple):
    """The hosts at one moment; `own` is the instance of this one."""

    hosts: list[Host]
    own: str | None

    @property
    def published(self) -> list[object]:
        """Equal as long as no host has published anything else."""
        return [(host.instance, host.generation, host.sha256) for host in self.hosts]


class HostsStore:
    """The hosts of a store, as seen from a directory."""

    def __init__(self, data: DataDirectory, address: str, cache: PartCache, packs: PartPacks) -> None:
        self._data = data
        self._link = StoreLink(address)
        self._cache = cache
        self._packs = packs
        self._published: list[object] = []
        self._ledger = Ledger()

    def read(self, asked: Asked, read: Callable[[Source], T]) -> T:
        """The result of `read` for what the hosts have published; it may be called
        again. Raises StoreUnavailable, SnapshotDamaged, StoredPartMissing,
        NoRoomForParts, TimezonesDiffer, HostsMoved, and what `read` raises.
        """
        import duckdb  # here, as in duckdb_engine.connect

        for number in range(TRIES):
            seen = self._seen(asked.zone)
            try:
                return read(self._source(seen, asked))
            except StoredPartDamaged:
                raise
            except StoredPartMissing:
                if self._seen(asked.zone).published == seen.published:
                    raise
            except duckdb.IOException:
                # A part of this host was deleted since it was opened: then the store
                # has it, and the next try fetches it.
                if number > 0 and self._seen(asked.zone).published == seen.published:
                    raise
            finally:
                self._cache.release()
        raise HostsMoved(TRIES)

    def _seen(self, zone: str) -> _Seen:
        """Those of the ledger, and this one."""
        own = known_instance(self._data)
        hosts = self._link.ask(self._ledger.read)
        if not any(host.instance == own for host in hosts):
            hosts.append(Host(own, socket.gethostname(), zone, 0, None, False, None, Snapshot()))
        seen = _Seen(hosts, own)
        if seen.published != self._published:
            self._published = seen.published
            self._packs.drop(_referenced(hosts))
        return seen

    def _source(self, seen: _Seen, asked: Asked) -> Source:
        hosts = seen.hosts
        snapshots = [_counted(host) for host in hosts]
        days = combined_days(snapshots, asked.query)
        touched = [hosts[number] for number in sorted({each.host for each in days})]
        others = [host for host in touched if host.timezone != asked.zone and host.instance != seen.own]
        if others and asked.query.tells_visitors:
            raise TimezonesDiffer(asked.zone, others)
        own = next(host for host in hosts if host.instance == seen.own)
        rows = listed(hosts, asked.query)

        def open_parts(parts: Parts) -> list[str]:
            return self._packs.open(parts, lambda some: self._open(seen, some))

        all_days = all_days_of(snapshots, asked.query) if asked.query.asks_visits else ()
        return Source(days, open_parts, own.generation, oldest_as_of(hosts), rows, all_days)

    def _open(self, seen: _Seen, parts: Sequence[PartOfDay]) -> list[str]:
        """The paths of parts, of which the missing ones are fetched."""
        of = {each: seen.hosts[each.host] for each in parts}
        paths = {each: self._at_hand(each, is_own=host.instance == seen.own) for each, host in of.items()}
        missing = [StoredPart(of[each].instance, of[each].name, each) for each, path in paths.items() if path is None]
        if missing:
            self._cache.require_room(sum(each.of.part.bytes for each in missing))

            def fetch_missing(connection: Connection) -> None:
                for part, content in fetch(connection, [each for each in missing if paths[each.of] is None]):
                    paths[part.of] = self._cache.put(part.of.part, content)

            self._link.ask(fetch_missing)
            self._cache.evict(_referenced(seen.hosts))
        return [str(self._readable(of[each], each, paths[each])) for each in parts]

    def _readable(self, host: Host, each: PartOfDay, path: Path | None) -> Path | None:
        """A part, without visitors who are to be erased."""
        if path is None or not host.erased or each.kind != "archive":
            return path
        return without_visitors(path, self._cache.own, host.erased)

    def _at_hand(self, each: PartOfDay, *, is_own: bool) -> Path | None:
        if is_own:
            try:
                return verified_part(self._data, each.kind, each.day, each.part)
            except PartDamaged:
                pass  # replaced since it was published, or damaged: the store has it
        return self._cache.get(each.part)

    def close(self) -> None:
        """End the connection to the store."""
        self._link.close()


def _counted(host: Host) -> Snapshot:
    return without_counters(host.snapshot) if host.erased else host.snapshot


def _referenced(hosts: Sequence[Host]) -> set[str]:
    return {
        part.sha256
        for host in hosts
        for day in host.snapshot.days.values()
        for parts in (day.archive, day.counters)
        for part in parts
    }


@contextmanager
def hosts_store(data: DataDirectory, address: str, cache_bytes: int, disk_reserve: int) -> Iterator[HostsStore]:
    with own_spill(data) as own:
        cache = PartCache(data, own, cache_bytes, disk_reserve)
        store = HostsStore(data, address, cache, PartPacks(own / "packs", cache.has_room))
        with closing(store):
            yield store
