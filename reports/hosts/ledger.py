"""Which generation each host has published, as the ledger of the store says."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.hosts.erased import ErasedVisitor, erased_visitors
from reports.sql.postgres import ledger_statement, ledger_statement_before_salts
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
    long ago it published, or had nothing new to publish. `erased`: visitors who are to
    be left out of what it has published.
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
    erased: tuple[ErasedVisitor, ...] = ()


class Ledger:
    """Reads the ledger, and remembers the snapshots of its rows."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}

    def read(self, connection: Connection) -> list[Host]:
        """All hosts; none while no host has made the tables. Raises SnapshotDamaged,
        and DataFromNewerVersion for a host that runs a newer Foldlog.
        """
        # First: the order ends once another host has absorbed the instance.
        erased = erased_visitors(connection)
        rows = self._rows(connection)
        hosts = [self._host(*row)._replace(erased=erased.get(row[0], ())) for row in rows]
        self._snapshots = {host.sha256: host.snapshot for host in hosts if host.sha256}
        return hosts

    def _rows(self, connection: Connection) -> list[tuple[Any, ...]]:
        from psycopg.errors import UndefinedTable  # here: see connection.py

        for statement in (ledger_statement(), ledger_statement_before_salts()):
            with suppress(UndefinedTable):
                return connection.execute(statement, (list(self._snapshots),), binary=True).fetchall()
        return []

    def _host(self, *row: Any) -> Host:
        instance, name, timezone, generation, sha256, is_retired, silent_s, content, *own_salts = row
        own_salt_days = tuple(map(OwnSaltDay, *own_salts))
        snapshot = self._snapshot(name, sha256, content)
        return Host(instance, name, timezone, generation, sha256, is_retired, silent_s, snapshot, own_salt_days)

    def _snapshot(self, host: str, sha256: str | None, content: bytes | None) -> Snapshot:
        if sha256 is None:
            return Snapshot()
        if content is None:
            return self._snapshots[sha256]
        name = Path(f"the snapshot of {host} in the store")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise SnapshotDamaged(name, "differs from its sha256")
        return decode_snapshot(content, name)
