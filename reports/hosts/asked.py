"""Whether a question is about all hosts of a store, and what it asks of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reports.hosts.ledger import Host
from reports.query import Query
from reports.query_error import QueryError
from shared.exit_codes import UsageError
from shared.stores.address import is_clickhouse, knows_hosts


class TimezonesDiffer(UsageError):
    """Hosts count days of other time zones, so that visitors without an id change on
    other midnights.
    """

    def __init__(self, zone: str, others: Sequence[Host]) -> None:
        super().__init__(zone, others)
        self.zone, self.others = zone, others

    def __str__(self) -> str:
        others = ", ".join(f"{host.name} ({host.timezone})" for host in self.others)
        return (
            f"visitors cannot be counted over hosts of several FOLDLOG_TIMEZONE: this one has {self.zone}, not so "
            f"{others}. Ask with visitors=none, or with scope=host."
        )


class Asked(NamedTuple):
    """A question, and the time zone of this host."""

    query: Query
    zone: str


def asks_all_hosts(query: Query, store: str) -> bool:
    """Whether a question is about all hosts of the store. Raises QueryError where there
    is no store that knows them.
    """
    if query.scope == "all" and not knows_hosts(store):
        raise QueryError("scope", "all needs PostgreSQL or ClickHouse in FOLDLOG_STORE; without one there is host")
    return knows_hosts(store) and query.scope != "host"


def require_parts(store: str) -> None:
    """Raises QueryError where the store has no parts of which to make an export."""
    if is_clickhouse(store):
        raise QueryError(
            "scope", "a ClickHouse store has no export: ask each host with scope=host, or ClickHouse itself"
        )
