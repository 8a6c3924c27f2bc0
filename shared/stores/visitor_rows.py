"""Visitors of a day and site. A store of several hosts has keyed hashes, so that one
visitor of two hosts or days counts once, and no store says who it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple


class VisitorRow(NamedTuple):
    """`hashes`: each 32 hex digits, separated by commas. `expired`: how many visitors
    the day had when its archive was deleted; it has no hashes then. None without hashes
    either: unknown.
    """

    day: date
    site: str
    hashes: str
    expired: int | None = None


class DayVisitors(NamedTuple):
    """What a publish adds to a UTC day, in pages that fit into memory. With `whole`,
    what is there is replaced.
    """

    utc_day: date
    pages: Iterator[Sequence[VisitorRow]]
    whole: bool


class DayCounts(NamedTuple):
    """How many visitors a day of the time zone has, by site, as a store of one host has
    it. None: unknown, since the archive was deleted.
    """

    day: date
    visitors: Mapping[str, int | None]


class VisitorDigest(NamedTuple):
    """What all rows of a UTC day, a day and a site say: how many hashes, and the MD5 of
    their texts in order. For comparison.
    """

    day: date
    site: str
    hashes: int
    md5: str | None
    expired: int | None
