"""One block of lines becomes the JSON of events, in DuckDB, with bounded memory.

A parser has its own in-memory database with one thread. Several parsers work on several
blocks at once: DuckDB lets other threads run meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from compactor.sql import sql_file
from foldlog.importers.addresses import client_of, first_forwarded, network_of
from foldlog.importers.columns import parsed_sql
from foldlog.importers.formats import LOCAL_TIME, LineFormat
from foldlog.importers.outcome import REASONS
from foldlog.importers.page_views import type_sql
from foldlog.importers.prefixes import Wrapping
from foldlog.importers.site_choice import SiteChoice
from foldlog.importers.spelling import plain_text, spelled_target
from ingest.collect.daily_salt import SALT_BYTES
from ingest.collect.own_traffic import OwnTraffic
from shared.control_chars import escape_control_chars
from shared.duckdb_engine import connect, one_row

if TYPE_CHECKING:
    import duckdb

_MEMORY = 256 << 20
_HOUR_MS = 3_600_000
# Texts that an event may spell otherwise: escapes, blanks, what is not ASCII.
_SPELLED = r"""regexp_matches(target, '[^!-~]|\\') OR regexp_matches(referrer || agent, '[^ -~]|\\')"""
_UNUSUAL = (
    "SELECT i, address, {forwarded}, target, referrer, agent FROM parsed "
    "WHERE network = '' OR NOT starts_with(target, '/')"
)
_PLAIN_BYTES = bytes([10, 13, *range(0x20, 0x5C), *range(0x5D, 0x7F)])  # all but the backslash


class Shape(NamedTuple):
    """How lines are taken apart: their format, and what is around each."""

    format: LineFormat
    wrapping: Wrapping = ""


@dataclass(frozen=True)
class Rules:
    """What is made of a line that is understood. `latest_ms`: times beyond it are
    refused; `salt` is in memory only, so that no visitor can be traced to an address.
    """

    site: SiteChoice
    latest_ms: int
    zone: ZoneInfo
    pages_only: bool = False
    not_found: bool = False
    forwarded: bool = False
    own_traffic: OwnTraffic = field(default_factory=lambda: OwnTraffic(()))
    salt: str = field(default_factory=lambda: secrets.token_urlsafe(SALT_BYTES))


class Parsed(NamedTuple):
    """Events, each an id of 32 characters and the JSON that follows it; for each reason
    the number of lines and the place of the first, from 1.
    """

    events: list[bytes]
    counts: list[tuple[int, int]]


class BlockParser:
    """Belongs to one thread at a time."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        return connect(_MEMORY, threads=1)

    def parse(self, text: str, shape: Shape, source: str) -> Parsed:
        """The events of the lines in `text`, which have ids of this source."""
        database, rules = self._database, self._rules
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE parsed AS {parsed_sql(shape.format, shape.wrapping)}", {"text": text}
        )
        if shape.format.time == LOCAL_TIME:
            self._to_utc()
        mended = self._mend(text, is_json=bool(shape.format.paths))
        self._exclude(mended)
        events, reasons = one_row(
            database,
            _events_sql(
                *rules.site.sql(shape.format),
                "content_type" in shape.format.paths,
                bool(mended),
                bool(rules.own_traffic),
            ),
            {
                "latest_ms": rules.latest_ms,
                "not_found": rules.not_found,
                "pages_only": rules.pages_only,
                "source": source,
                "salt": rules.salt,
            },
        )
        return _parsed(events, reasons)

    def understood(self, text: str, shape: Shape) -> int:
        """How many of the lines have an address, a time and a status."""
        sql = f"SELECT address, time_ms IS NOT NULL AND status <> '' FROM ({parsed_sql(shape.format, shape.wrapping)})"
        rows = self._database.execute(sql, {"text": text}).fetchall()
        return sum(1 for address, is_complete in rows if is_complete and client_of(address))

    def _mend(self, text: str, *, is_json: bool) -> dict[int, str]:
        """What SQL does not do: networks of unusual addresses, and texts that are
        spelled otherwise than an event has them. Returns the clients of these lines.
        """
        database = self._database
        database.execute(
            "CREATE OR REPLACE TEMP TABLE mended "
            "(i BIGINT, network VARCHAR, target VARCHAR, referrer VARCHAR, agent VARCHAR)"
        )
        forwarded = "forwarded" if self._rules.forwarded else "''"
        sql = _UNUSUAL.replace("{forwarded}", forwarded)
        sql += "" if _is_plain(text) else f" OR {_SPELLED}"
        sql += " OR forwarded <> ''" if self._rules.forwarded else ""
        rows = database.execute(sql).fetchall()
        clients = {row[0]: _client(*row[1:3]) for row in rows}
        if rows:
            database.execute(
                "INSERT INTO mended SELECT unnest($1::BIGINT[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[]), "
                "unnest($4::VARCHAR[]), unnest($5::VARCHAR[])",
                list(map(list, zip(*[_mended(row, clients[row[0]], is_json=is_json) for row in rows], strict=True))),
            )
        return clients

    def _exclude(self, mended: Mapping[int, str]) -> None:
        """Make the table `excluded` of the lines of own traffic; `mended`: the clients
        of lines that SQL does not know.
        """
        own_traffic = self._rules.own_traffic
        if not own_traffic:
            return
        rows = self._database.execute("SELECT i, network FROM parsed WHERE network <> ''").fetchall()
        clients = {**dict(rows), **mended}
        excluded = [i for i, client in clients.items() if own_traffic.includes(client)]
        self._database.execute("CREATE OR REPLACE TEMP TABLE excluded AS SELECT unnest($1::BIGINT[]) AS i", [excluded])

    def _to_utc(self) -> None:
        """Times without a zone are those of FOLDLOG_TIMEZONE."""
        (found,) = one_row(self._database, f"SELECT list(time_ms // {_HOUR_MS}) FROM parsed")
        hours = sorted({hour for hour in found if hour is not None})
        offsets = [_offset_ms(self._rules.zone, hour) for hour in hours]
        self._database.execute(
            f"UPDATE parsed SET time_ms = time_ms - list_extract($offsets::BIGINT[], "
            f"list_position($hours::BIGINT[], time_ms // {_HOUR_MS}))",
            {"offsets": offsets, "hours": hours},
        )


@lru_cache(maxsize=64)
def _events_sql(site: str, host: str, by_content_type: bool, any_mended: bool, any_excluded: bool) -> str:
    type_ = type_sql(by_content_type=by_content_type)
    is_mended = "mended.i = parsed.i" if any_mended else "false"
    excluded = "i IN (FROM excluded)" if any_excluded else "false"
    return sql_file(__file__, "events.sql", site=site, host=host, type=type_, is_mended=is_mended, is_excluded=excluded)


def _parsed(events: str | None, reasons: str) -> Parsed:
    encoded = escape_control_chars(events.encode("utf-8")).split(b"\n") if events else []
    counts = [(reasons.count(digit), reasons.find(digit) + 1) for digit in map(str, range(len(REASONS) - 1))]
    return Parsed(encoded, counts)


def _is_plain(text: str) -> bool:
    """Whether all of it is printable ASCII without a backslash."""
    return text.isascii() and not text.encode("ascii").translate(None, _PLAIN_BYTES)


def _client(address: str, forwarded: str) -> str:
    return (first_forwarded(forwarded) if forwarded else "") or client_of(address)


def _mended(row: tuple[int, str, str, str, str, str], client: str, *, is_json: bool) -> tuple[int, str, str, str, str]:
    i, _address, _forwarded, target, referrer, agent = row
    if not is_json:
        referrer, agent = plain_text(referrer), plain_text(agent)
    return i, network_of(client), spelled_target(target, escaped=not is_json), referrer, agent


@lru_cache(maxsize=4096)
def _offset_ms(zone: ZoneInfo, hour: int) -> int:
    local = datetime.fromtimestamp(hour * _HOUR_MS / 1000, UTC).replace(tzinfo=zone)
    offset = local.utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0
