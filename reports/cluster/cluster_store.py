"""Reading what all hosts have shipped to a ClickHouse store."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property

from reports.cluster.answer import report_of_cluster, shipped
from reports.cluster.cannot_answer import naming_shards_away, require_counts, require_version
from reports.compared_rows import with_previous
from reports.hosts.asked import Asked, TimezonesDiffer
from reports.hosts.combine import combined_days
from reports.hosts.ledger import Host
from reports.hosts.listed import listed, oldest_as_of
from reports.kinds.batch import BatchQuery, together
from reports.query import Query
from reports.query_error import QueryError
from reports.rows import Row
from reports.sql.clickhouse import Statements
from reports.sql.clickhouse.month_ends import WITHIN_MONTHS, Settings, final_settings
from shared.disk.layout import DataDirectory
from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.ledger_rows import HeldRow, held_rows
from shared.stores.clickhouse.tables import events_table
from shared.stores.instance import known_instance
from shared.stores.ledger import StoreUnavailable

TIMEOUT_S = 60.0


class ClusterStore:
    """The hosts of a cluster, as seen from a directory. The first shard is asked, and
    it asks the others.
    """

    def __init__(self, data: DataDirectory, address: str) -> None:
        self._data, self._cluster = data, parse_cluster(address)

    @cached_property
    def _server(self) -> ClickHouse:
        return ClickHouse(self._cluster, self._cluster.shards[0], TIMEOUT_S)

    def answer(self, asked: Asked) -> Row:
        """The report, or those of a batch, each of its own moment: one that cannot be
        asked has its problem. Raises as `report`.
        """
        query = asked.query
        if not isinstance(query, BatchQuery):
            return self.report(asked)
        return together(query, [self._report_or_problem(asked, each) for each in query.each])

    def _report_or_problem(self, asked: Asked, query: Query | QueryError) -> Row | QueryError:
        if isinstance(query, QueryError):
            return query
        try:
            return self.report(asked._replace(query=query))
        except QueryError as error:
            return error

    def report(self, asked: Asked) -> Row:
        """Raises QueryError, StoreUnavailable, StoreRefused and TimezonesDiffer."""
        require_counts(asked.query)
        try:
            with naming_shards_away(self._cluster):
                require_version(self._cluster, self._server)
                return self.report_of_published(asked)
        except StoreUnavailable:
            self.__dict__.pop("_server", None)  # it may be another version when it is back
            raise

    def report_of_published(self, asked: Asked) -> Row:
        """As `report`, of a server that is known to answer."""
        query = asked.query
        hosts = [_host(row) for row in held_rows(self._server).values()]
        days = combined_days([host.snapshot for host in hosts], query)
        touched = [hosts[number] for number in sorted({each.host for each in days})]
        others = [host for host in touched if host.timezone != asked.zone]
        if others and query.counts_visitors:
            raise TimezonesDiffer(asked.zone, others)
        own = next((host for host in hosts if host.instance == known_instance(self._data)), None)
        table = events_table(self._cluster)
        statements, of_all = Statements(table), shipped(days)

        def make(one: Query) -> Row:
            """The report of one of the times that are compared. One host has no copies
            on two days.
            """
            settings: Settings = WITHIN_MONTHS
            if len(hosts) > 1:
                settings = final_settings(
                    lambda statement, given: self._server.rows(statement.text, settings=given),
                    table,
                    one.start,
                    one.end,
                )
            return report_of_cluster(
                lambda statement: self._server.rows(statement.text, statement.bound, settings),
                statements,
                one,
                of_all,
                own.generation if own else 0,
                oldest_as_of(hosts),
                listed(hosts, query),
            )

        return with_previous(query, make)


def _host(row: HeldRow) -> Host:
    """A host that has published a generation only in part has the days that are
    there.
    """
    return Host(
        row.instance,
        row.host,
        row.timezone,
        row.generation,
        row.sha256 or None,
        row.is_retired,
        (datetime.now(UTC) - row.published_at).total_seconds(),
        row.snapshot,
    )
