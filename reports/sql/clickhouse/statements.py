"""From a read of reports/plan.py to statements of ClickHouse.

Its hash tables have no seed: texts that a client chose are grouped by two hashes with a
secret of the question, as shared/sql/texts.py says of DuckDB.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reports.kinds.goals import GoalsRead
from reports.plan import STRETCH_MAX_S, ArchiveScan
from reports.sql.clickhouse.bound import Bound
from reports.sql.clickhouse.relations import events_of_goals, matching_events, numbers

_SECRET_BITS = 63
# Of the 64 bits of a number with a point the lowest 52 are its digits, the highest its
# sign. Its digits are summed in two halves, each of which 2^36 events do not overflow.
_DIGITS = 1 << 52
_SIGN = 1 << 63
HALF = 1 << 26
_EXPONENT = f"intDiv(bits, {_DIGITS}) % 2048"
_WHOLE = f"(bits % {_DIGITS} + if({_EXPONENT} = 0, 0, {_DIGITS}))"
_POWER = f"toInt32(greatest({_EXPONENT}, 1)) - 1075"
_SUMS = ", ".join(
    f"toString(sum(toInt64({half}) * if(bits >= {_SIGN}, -1, 1)))"
    for half in (f"intDiv({_WHOLE}, {HALF})", f"{_WHOLE} % {HALF}")
)
# Of rows that are a visitor each, or none.
_PEOPLE = "countIf(one != 0 OR other != 0)"


class Statement(NamedTuple):
    """SQL, and the values of its `{name:Type}`."""

    text: str
    bound: dict[str, object]


class Statements:
    """Of one question. `table` has the events of all shards."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._secret = (secrets.randbits(_SECRET_BITS), secrets.randbits(_SECRET_BITS))
        self._known: dict[str | None, tuple[int, int]] = {}

    def remember(self, values: Iterable[tuple[str | None, tuple[int, int]]]) -> None:
        """The numbers of values that were found: by these, not by their texts, more is
        asked of them, since a parameter may not be as long as many texts.
        """
        self._known.update(values)

    def known(self, values: Iterable[str | None]) -> list[tuple[int, int, int]]:
        """These values as rows of `top`; their events are not known."""
        return [(*self._known[value], 0) for value in values if value in self._known]

    def total(self, scan: ArchiveScan, *, with_visitors: bool) -> Statement:
        """One row (events, visitors)."""
        bound = Bound()
        events = self._events(scan, bound)
        if not with_visitors:
            return Statement(f"SELECT count(), NULL FROM ({events})", bound.values)
        return Statement(f"SELECT sum(events), {_PEOPLE} FROM ({self._people(events, bound)})", bound.values)

    def series(self, scan: ArchiveScan, *, with_visitors: bool) -> Statement:
        """Rows (start of the bucket in ms, events, visitors)."""
        bound = Bound()
        events = self._events(scan, bound)
        if not with_visitors:
            return Statement(f"SELECT bucket, count(), NULL FROM ({events}) GROUP BY bucket", bound.values)
        text = f"SELECT bucket, sum(events), {_PEOPLE} FROM ({self._people(events, bound, 'bucket, ')}) GROUP BY bucket"
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

    def top_values(self, scan: ArchiveScan, limit: int) -> Statement:
        """Rows (two numbers, value, events, events of all values) of the values with
        the most events, in their order: all there is without buckets and visitors.
        """
        bound = Bound()
        text = (
            "SELECT one, other, any(value) AS found, count() AS events, sum(count()) OVER () "
            f"FROM (SELECT value, {self._numbers('value', bound)} FROM ({self._events(scan, bound)})) "
            "GROUP BY one, other ORDER BY events DESC, found ASC NULLS LAST "
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

    def value_sums(self, scan: ArchiveScan, shown: Sequence[str | None]) -> Statement:
        """Rows (start of the bucket in ms, value, power of two, sum of the whole
        multiples of it in two halves, count) of the values of events. A number's bits
        say both.
        """
        bound = Bound()
        text = (
            f"SELECT bucket, any(value) AS found, {_POWER} AS power, {_SUMS}, count() "
            "FROM (SELECT *, reinterpretAsUInt64(assumeNotNull(amount)) AS bits "
            f"FROM ({self._amounts(scan, shown, bound)})) GROUP BY bucket, one, other, power"
        )
        return Statement(text, bound.values)

    def goal_visitors(self, read: GoalsRead) -> Statement:
        """Rows (start of the bucket in ms, place of the goal, visitors); place -1: of
        all events.
        """
        bound = Bound()
        people = self._people(events_of_goals(read, self._table, bound, "visitor"), bound, "bucket, goal, ")
        return Statement(f"SELECT bucket, goal, {_PEOPLE} FROM ({people}) GROUP BY bucket, goal", bound.values)

    def goal_sums(self, read: GoalsRead) -> Statement:
        """Rows (start of the bucket in ms, place of the goal, power of two or NULL for
        events without a value, sum as in `value_sums`, count); place -1: of all.
        """
        bound = Bound()
        events = events_of_goals(read, self._table, bound, "a.value AS amount")
        text = (
            f"SELECT bucket, goal, if(isNull(amount), NULL, {_POWER}) AS power, {_SUMS}, count() "
            f"FROM (SELECT *, reinterpretAsUInt64(assumeNotNull(amount)) AS bits FROM ({events})) "
            "GROUP BY bucket, goal, power"
        )
        return Statement(text, bound.values)

    def value_quantiles(self, scan: ArchiveScan, shown: Sequence[str | None]) -> Statement:
        """Rows (start of the bucket in ms, value, p50, p95) of the values of events;
        the percentiles as the bits of a Float64. Engines print 1e300 as 1e30 (26.5).
        """
        bound = Bound()
        place = "PARTITION BY bucket, one, other"
        keys = ", ".join(bound.value(f"secret{n}", "UInt64", secret) for n, secret in enumerate(self._secret))
        amount_number = f"sipHash64Keyed(({keys}), reinterpretAsUInt64(assumeNotNull(amount)))"
        counted = (
            f"SELECT bucket, one, other, any(value) AS value, {amount_number} AS number, amount, count() AS events "
            f"FROM ({self._amounts(scan, shown, bound)}) GROUP BY bucket, one, other, number, amount"
        )
        ranked = (
            f"SELECT *, sum(events) OVER ({place} ORDER BY amount) AS up_to, sum(events) OVER ({place}) AS of_all "
            f"FROM ({counted})"
        )
        quantiles = ", ".join(
            f"reinterpretAsUInt64(assumeNotNull(minIf(amount, up_to * 100 >= of_all * {percent})))"
            for percent in (50, 95)
        )
        text = f"SELECT bucket, any(value) AS found, {quantiles} FROM ({ranked}) GROUP BY bucket, one, other"
        return Statement(text, bound.values)

    def engaged(self, scan: ArchiveScan, shown: Sequence[str | None]) -> Statement:
        """Rows (start of the bucket in ms, value, milliseconds, visitors, median of
        their milliseconds) of `engaged` events.
        """
        bound = Bound()
        place = "PARTITION BY bucket, one, other"
        person, again = (self._hash("visitor", bound, turned=turned) for turned in (False, True))
        stretches = f"amount > 0 AND amount <= {STRETCH_MAX_S} AND visitor IS NOT NULL"
        of_visitors = (
            f"SELECT bucket, one, other, any(value) AS value, {person} AS person, {again} AS again, "
            f"sum(toInt64(floor(assumeNotNull(amount) * 1000))) AS ms "
            f"FROM ({self._amounts(scan, shown, bound, 'a.value AS amount, a.visitor AS visitor')}) "
            f"WHERE {stretches} GROUP BY bucket, one, other, person, again"
        )
        ranked = (
            f"SELECT *, row_number() OVER ({place} ORDER BY ms) AS rank, count() OVER ({place}) AS visitors "
            f"FROM ({of_visitors})"
        )
        numbers_ = "toString(sum(ms)), count(), minIf(ms, rank * 2 >= visitors)"
        text = f"SELECT bucket, any(value) AS found, {numbers_} FROM ({ranked}) GROUP BY bucket, one, other"
        return Statement(text, bound.values)

    def _amounts(
        self, scan: ArchiveScan, shown: Sequence[str | None], bound: Bound, columns: str = "a.value AS amount"
    ) -> str:
        """(bucket, value, amount, two numbers of the value): values of events of the
        dimension's values in `shown`.
        """
        events = matching_events(scan, self._table, bound, columns)
        numbered = f"SELECT *, {self._numbers('value', bound)} FROM ({events}) WHERE amount IS NOT NULL"
        if scan.by is None:
            return numbered
        wanted = numbers((one for one, *_ in self.known(shown)), "UInt64")
        return f"SELECT * FROM ({numbered}) WHERE one IN {wanted}"

    def _events(self, scan: ArchiveScan, bound: Bound) -> str:
        return matching_events(scan, self._table, bound)

    def _people(self, events: str, bound: Bound, by: str = "") -> str:
        """(what is named in `by`, one, other, events): a row for each visitor, and one
        for the events of none. To group by two numbers costs half of uniqExact of them.
        """
        numbered = f"SELECT {by}{self._numbers('visitor', bound)} FROM ({events})"
        return f"SELECT {by}one, other, count() AS events FROM ({numbered}) GROUP BY {by}one, other"

    def _visitors(self, bound: Bound, *, is_asked: bool) -> str:
        if not is_asked:
            return "NULL"
        one, other = (self._hash("visitor", bound, turned=turned) for turned in (False, True))
        return f"uniqExactIf({one}, {other}, visitor IS NOT NULL)"

    def _numbers(self, text: str, bound: Bound) -> str:
        one, other = (self._hash(text, bound, turned=turned) for turned in (False, True))
        return f"{one} AS one, {other} AS other"

    def _hash(self, text: str, bound: Bound, *, turned: bool) -> str:
        """Of a text; 0 for NULL, which no text has twice."""
        keys = [bound.value(f"secret{n}", "UInt64", secret) for n, secret in enumerate(self._secret)]
        first, second = reversed(keys) if turned else keys
        return f"if(isNull({text}), 0, sipHash64Keyed(({first}, {second}), assumeNotNull({text})))"
