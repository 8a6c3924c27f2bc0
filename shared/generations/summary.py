"""The summary in the snapshot: the first numbers that people ask for, without reading a
part. Made by compactor/generations/summary.py; docs/formats.md has an example.

Days are days of FOLDLOG_TIMEZONE, named by their dates, the newest first. Bots are not
counted.
"""

from __future__ import annotations

from datetime import date

import msgspec

SUMMARY_MAX_BYTES = 64 << 10
SUMMARY_DAYS = 35
SITES_MAX = 100

# Of each of the days: events, and visitors once they are counted.
Events = tuple[int, ...]
Visitors = tuple[int | None, ...]


class SiteSummary(msgspec.Struct, frozen=True):
    site: str
    events: Events
    visitors: Visitors


class TopValue(msgspec.Struct, frozen=True):
    value: str
    events: int


class TopValues(msgspec.Struct, frozen=True):
    """The largest values over all sites from the day `first` to `last`, as of a pass
    that counted `events` events on them. None: the counters do not tell.
    """

    first: date
    last: date
    as_of: str
    events: int
    event: tuple[TopValue, ...] | None
    path: tuple[TopValue, ...] | None
    source: tuple[TopValue, ...] | None


class Summary(msgspec.Struct, frozen=True):
    """`events` and `visitors` are over all sites; `sites` the largest, `other_sites`
    the events of the others together.
    """

    zone: str
    days: tuple[date, ...]
    events: Events
    visitors: Visitors
    sites: tuple[SiteSummary, ...]
    other_sites: Events
    top: tuple[TopValues, ...] = ()


def encode_summary(summary: Summary) -> bytes:
    """In one line, of SUMMARY_MAX_BYTES at most: sites that do not fit are counted with
    the others.
    """
    while len(line := msgspec.json.encode(summary)) > SUMMARY_MAX_BYTES:
        summary = with_fewer_sites(summary, len(summary.sites) * 9 // 10)
    return line


def with_fewer_sites(summary: Summary, most: int) -> Summary:
    """The same with the first sites only."""
    columns = zip(summary.other_sites, *(site.events for site in summary.sites[most:]), strict=True)
    return msgspec.structs.replace(summary, sites=summary.sites[:most], other_sites=tuple(map(sum, columns)))
