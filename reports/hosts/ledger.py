"""Which generation each host has published, as the ledger of the store says."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reports.sql.postgres import ledger_statement, own_salts_statement
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot

if TYPE_CHECKING:
    from psycopg import Connection


class OwnSaltDay(NamedTuple):
    """A day of a host's time zone on which its hashes of visitors are not those of the
    other hosts.
    """

    day: date
    begins: datetime
    ends: datetime


class Host(NamedTuple):
    """A row of the ledger, or this host if it is not there; its `instance` may be None.
    `snapshot` is that of generation 0 where nothing is published yet. `silent_s`: how
    long ago it published, or had nothing new to publish.
    """

    instance: str | None
    name: str
    timezone: str
    generation: int
    sha256: str | None
    is_retired: bool
    silent_s: float | None
    snapshot: Snapshot
    own_salt_days: tuple[OwnSaltDay, ...] = ()


class Ledger:
    """Reads the ledger, and remembers the snapshots of its rows."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}

    def read(self, connection: Connection) -> list[Host]:
        """All hosts; none while no host has made the tables. Raises SnapshotDamaged,
        and DataFromNewerVersion for a host that runs a newer Foldlog.
        """
        from psycopg.errors import UndefinedTable  # here: see connection.py

        try:
            rows = connection.execute(ledger_statement(), (list(self._snapshots),), binary=True).fetchall()
        except UndefinedTable:
            return []
        days = _own_salt_days(connection)
        hosts = [self._host(*row)._replace(own_salt_days=tuple(days.get(row[0], ()))) for row in rows]
        self._snapshots = {host.sha256: host.snapshot for host in hosts if host.sha256}
        return hosts

    def _host(
        self,
        instance: str,
        name: str,
        timezone: str,
        generation: int,
        sha256: str | None,
        is_retired: bool,
        silent_s: float | None,
        content: bytes | None,
    ) -> Host:
        snapshot = self._snapshot(name, sha256, content)
        return Host(instance, name, timezone, generation, sha256, is_retired, silent_s, snapshot)

    def _snapshot(self, host: str, sha256: str | None, content: bytes | None) -> Snapshot:
        if sha256 is None:
            return Snapshot()
        if content is None:
            return self._snapshots[sha256]
        name = Path(f"the snapshot of {host} in the store")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise SnapshotDamaged(name, "differs from its sha256")
        return decode_snapshot(content, name)


def _own_salt_days(connection: Connection) -> dict[str, list[OwnSaltDay]]:
    """By instance; none in a store that an earlier Foldlog has migrated last."""
    from psycopg.errors import UndefinedTable  # here: see connection.py

    found: dict[str, list[OwnSaltDay]] = defaultdict(list)
    try:
        rows = connection.execute(own_salts_statement(), binary=True).fetchall()
    except UndefinedTable:
        return found
    for instance, *row in rows:
        found[instance].append(OwnSaltDay(*row))
    return found
