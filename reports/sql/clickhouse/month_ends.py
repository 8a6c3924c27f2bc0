"""Whether FINAL has to choose among months. A month is a partition of its own, and is
read without a comparison once it is merged: comparing all months with each other costs
more than the rest of a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta

from reports.sql.clickhouse.relations import days_with_copies
from reports.sql.clickhouse.statements import Statement
from shared.lateness import DEDUPE_DAYS

WITHIN_MONTHS = {"do_not_merge_across_partitions_select_final": "1"}
# Copies of an event have one hash, and so one shard.
ON_EACH_SHARD = {"distributed_product_mode": "local"}

Settings = Mapping[str, str]
Ask = Callable[[Statement, Settings], list[list[int]]]


def final_settings(ask: Ask, table: str, start: datetime, end: datetime) -> Settings:
    """The settings of a question about this time: within months, unless an event has
    copies on both sides of a month's end.
    """
    first, last = days_with_copies(start, end)
    for month in month_ends(first, last):
        if ask(Statement(copies_over(table, month), {}), ON_EACH_SHARD):
            return {}
    return WITHIN_MONTHS


def month_ends(first: date, last: date) -> Iterator[date]:
    """The first days of the months that begin after `first`, up to `last`."""
    month = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    while month <= last:
        yield month
        month = (month + timedelta(days=32)).replace(day=1)


def copies_over(table: str, month: date) -> str:
    """A row if an event has copies beside the beginning of this month, as far apart as
    copies may be.
    """
    before, after = month - timedelta(days=DEDUPE_DAYS), month + timedelta(days=DEDUPE_DAYS)
    return (
        f"SELECT 1 FROM {table} WHERE day >= '{month}' AND day < '{after}' AND h IN "
        f"(SELECT h FROM {table} WHERE day >= '{before}' AND day < '{month}') LIMIT 1"
    )
