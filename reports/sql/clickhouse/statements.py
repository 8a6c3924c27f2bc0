"""From a read of reports/plan.py to statements of ClickHouse.

Its hash tables have no seed: texts that a client chose are grouped by two hashes with a
secret of the question, as shared/sql/texts.py says of DuckDB.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from reports.plan import ArchiveScan
from reports.sql.clickhouse.relations import Bound, matching_events, numbers

_SECRET_BITS = 63


class Statement(NamedTuple):
    """SQL, and the values of its `{name:Type}`."""

    text: str
    bound: dict[str, object]


class Statements:
    """Of one question. `table` has the events of all shards."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._secret = (secrets.randbits(_SECRET_BITS), secrets.randbits(_SECRET_BITS))

    def total(self, scan: ArchiveScan, *, with_visitors: bool) -> Statement:
        """One row (events, visitors)."""
        bound = Bound()
        visitors = self._visitors(bound, is_asked=with_visitors)
        return Statement(f"SELECT count(), {visitors} FROM ({self._events(scan, bound)})", bound.values)

    def series(self, scan: ArchiveScan, *, with_visitors: bool) -> Statement:
        """Rows (start of the bucket in ms, events, visitors)."""
        bound = Bound()
        visitors = self._visitors(bound, is_asked=with_visitors)
        text = f"SELECT bucket, count(), {visitors} FROM ({self._events(scan, bound)}) GROUP BY bucket"
        return Statement(text, bound.values)

    def top(self, scan: ArchiveScan, limit: int) -> Statement:
        """Rows (two numbers, events of all values) of the values with the most events.
        The numbers together stand for the value.
        """
        bound = Bound()
        text = (
            "SELECT one, other, sum(count()) OVER () "
            f"FROM (SELECT value, {self._numbers('value', bound)} FROM ({self._events(scan, bound)})) "
            "GROUP BY one, other ORDER BY count() DESC, any(value) ASC NULLS LAST "
            f"LIMIT {bound.value('limit', 'UInt32', limit)}"
        )
        return Statement(text, bound.values)

    def values(self, scan: ArchiveScan, top: Sequence[int], *, with_visitors: bool) -> Statement:
        """Rows (two numbers, start of the bucket in ms, value, events, visitors) of the
        values whose first number is in `top`.
        """
        bound = Bound()
        visitors = self._visitors(bound, is_asked=with_visitors)
        numbered = f"SELECT *, {self._numbers('value', bound)} FROM ({self._events(scan, bound)})"
        text = (
            f"SELECT one, other, bucket, any(value) AS found, count() AS events, {visitors} AS people "
            f"FROM ({numbered}) WHERE one IN {numbers(top, 'UInt64')} "
            "GROUP BY one, other, bucket ORDER BY bucket, events DESC, people DESC, found ASC NULLS LAST"
        )
        return Statement(text, bound.values)

    def _events(self, scan: ArchiveScan, bound: Bound) -> str:
        return matching_events(scan, self._table, bound)

    def _visitors(self, bound: Bound, *, is_asked: bool) -> str:
        if not is_asked:
            return "NULL"
        one, other = (self._hash("visitor", bound, turned=turned) for turned in (False, True))
        return f"uniqExactIf({one}, {other}, visitor IS NOT NULL)"

    def _numbers(self, text: str, bound: Bound) -> str:
        one, other = (self._hash(text, bound, turned=turned) for turned in (False, True))
        return f"{one} AS one, {other} AS other"

    def _hash(self, text: str, bound: Bound, *, turned: bool) -> str:
        """Of a text or NULL."""
        keys = [bound.value(f"secret{n}", "UInt64", secret) for n, secret in enumerate(self._secret)]
        first, second = reversed(keys) if turned else keys
        return f"sipHash64Keyed(({first}, {second}), ifNull({text}, ''), isNull({text}))"
