"""Hosts of one PostgreSQL store: data directories that fold, publish and yield as
processes of the compactor do, and what the store then counts.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from compactor.claims.claim import IdsClaimedElsewhere
from compactor.claims.yield_events import carry_out_claims
from compactor.erasure.rewrite import erase_pending
from compactor.lock import compactor_lock
from compactor.publishing.instance import instance_id
from compactor.publishing.publish import Published, publish_newest
from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.settings import Settings
from shared.sql.archive_events import from_archive_sql
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from tests.builders.logs import NOON, data_directory, fold_all, sealed
from tests.builders.postgres import Server
from tests.builders.silent_log import SilentLog

# A publish may have to wait for a pass that yields, and that for another one.
TURNS = 6


class StoreHost:
    """A host with the data directory `root`."""

    def __init__(self, root: Path, address: str, **settings: Any) -> None:
        self.data: DataDirectory = data_directory(root)
        self.settings = Settings(data_dir=root, store=address, **settings)

    @property
    def instance(self) -> str:
        return instance_id(self.data)

    def receive(self, lines: Iterable[Line], now_ms: int = NOON) -> None:
        """Fold lines."""
        sealed(self.data, lines)
        fold_all(self.data, now_ms, timezone=self.settings.timezone)

    def publish(self, now_ms: int = NOON) -> Published:
        """One try."""
        return publish_newest(self.data, self.settings, open_store(self.settings, self.instance), now_ms)

    def carry_out(self, now_ms: int = NOON) -> None:
        """What the compactor does after its round."""
        with compactor_lock(self.data) as lock:
            carry_out_claims(self.data, self.settings, SilentLog(), lock, now_ms)

    def erase(self, now_ms: int = NOON) -> None:
        """Carry out what is asked to be erased."""
        with compactor_lock(self.data) as lock:
            erase_pending(self.data, self.settings, SilentLog(), lock, now_ms)

    def settle(self, now_ms: int = NOON) -> None:
        """Publish, and yield what has to be, until the newest generation is there."""
        for _ in range(TURNS):
            try:
                self.publish(now_ms)
            except IdsClaimedElsewhere:
                self.carry_out(now_ms)
            else:
                return
        raise AssertionError(f"not published after {TURNS} tries")


def copies_of(hosts: Iterable[StoreHost], server: Server, to: Path) -> list[StoreHost]:
    """Copies of the directories of all hosts of a store, beside a copy of the store: as
    if the copied had never been.
    """
    hosts = list(hosts)
    address = server.copy_of(hosts[0].settings.store)
    return [StoreHost(shutil.copytree(each.data.root, to / each.data.root.name), address) for each in hosts]


def counted_ids(address: str, within: Path, instance: str | None = None) -> Counter[str]:
    """How often each id counts over all hosts, or in one instance, read from the
    archives that the store has.
    """
    found: Counter[str] = Counter()
    with connected(address) as connection:
        sql = "SELECT sha256, body FROM analytics_parts WHERE kind = 'archive' AND instance = coalesce(%s, instance)"
        rows = connection.execute(sql, (instance,)).fetchall()
    with closing(duckdb.connect()) as database:
        for sha256, body in rows:
            path = within / f"{sha256}.parquet"
            path.write_bytes(body)
            events = from_archive_sql(f"read_parquet('{path}')")
            found.update(id_ for (id_,) in database.execute(f"SELECT id FROM {events}").fetchall())
            path.unlink()
    return found


def totals(host: StoreHost) -> tuple[int, int]:
    """Events counted, and duplicates."""
    found = load_snapshot(host.data).totals
    assert found.accounted == found.lines
    return found.counted, found.duplicates
