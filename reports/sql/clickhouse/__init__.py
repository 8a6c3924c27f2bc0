"""Reports in ClickHouse's SQL, over the events that a cluster has of all hosts."""

from reports.sql.clickhouse.statements import Statement, Statements

__all__ = ["Statement", "Statements"]
