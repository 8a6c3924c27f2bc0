"""Rows of counters as a store has them.

A store counts by the day of FOLDLOG_TIMEZONE, and keeps apart the UTC days that make it
up, so that one of them can be replaced alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple


class CounterRow(NamedTuple):
    """`key` is a hash of all that follows but `events`: a text may be longer than a
    database can index. `events` is what the key counts now, not what was added: 0 where
    it counts nothing any more.
    """

    key: bytes
    day: date
    dimension: str
    site: str | None
    event: str | None
    value: str | None
    bot: bool
    events: int


class DayRows(NamedTuple):
    """What a publish does to a UTC day, in pages that fit into memory. With `whole`,
    rows of the day that are not among these are deleted.
    """

    utc_day: date
    pages: Iterator[Sequence[CounterRow]]
    whole: bool
