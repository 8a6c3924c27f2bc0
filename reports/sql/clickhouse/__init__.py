"""Reports in ClickHouse's SQL, over the events that a cluster has of all hosts."""

from reports.sql.clickhouse.statements import HALF, Statement, Statements

__all__ = ["HALF", "Statement", "Statements"]
