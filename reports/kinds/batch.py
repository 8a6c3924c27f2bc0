"""Several reports in one question: what one page shows of a time, site and filter. Each
is the report that it would be alone, all are of one snapshot; one that cannot be asked
has its problem instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec

from reports.kinds.kind_query import KindQuery, Parameters
from reports.query import LIMIT_MAX, Query, parse, query_fields
from reports.query_error import QueryError
from reports.rows import Row

KIND = "batch"
OWN = ("reports",)
COMMON = ("from", "to", "tz", "site", "filter", "bots", "scope")
# What each report has of its own.
EACH = ("by", "interval", "week", "event", "limit", "measures", "compare")
REPORTS_MAX = 12
ROWS_MAX = LIMIT_MAX
# What the answer has once, not in each report.
_OF_ALL = ("from", "to", "tz", "generation", "as_of", "hosts")
_EXAMPLE = '[{"by":"path","limit":"10"},{"measures":"visitors","compare":"previous"}]'
_REPORTS = msgspec.json.Decoder(list[dict[str, str]])


@dataclass(frozen=True)
class BatchQuery(KindQuery):
    """`each`: a question of its own, in the order in which they were asked for, or why
    it cannot be asked.
    """

    kind = KIND
    each: tuple[Query | QueryError, ...] = ()

    @property
    def queries(self) -> list[Query]:
        return [each for each in self.each if isinstance(each, Query)]

    @property
    def reads_from(self) -> datetime:
        return min((each.reads_from for each in self.queries), default=self.start)

    def reads(self, day: date) -> bool:
        return any(each.reads(day) for each in self.queries)

    @property
    def asks_visits(self) -> bool:
        return any(each.asks_visits for each in self.queries)

    @property
    def tells_visitors(self) -> bool:
        return any(each.tells_visitors for each in self.queries)


def parse_batch(parameters: Parameters, now: datetime, zone: str) -> BatchQuery:
    """Raises QueryError for what all reports share, and where none can be asked."""
    known = (*COMMON, *OWN)
    if unknown := sorted(set(parameters) - set(known)):
        raise QueryError(unknown[0], f"unknown parameter; known are {', '.join(known)}")
    common = {name: text for name, text in parameters.items() if name in COMMON}
    shared = query_fields(parse(common, now, zone))
    each = tuple(_parse_one(common, own, now, zone) for own in _decode(parameters.get("reports", "")))
    query = BatchQuery(**shared, each=each)
    if not query.queries:
        raise next(found for found in each if isinstance(found, QueryError))
    if sum((one.limit if one.by else 1) * len(one.bucket_starts()) for one in query.queries) > ROWS_MAX:
        raise QueryError("reports", f"more than {ROWS_MAX} rows; ask for fewer reports, values or intervals")
    return query


def _decode(text: str) -> list[dict[str, str]]:
    try:
        found = _REPORTS.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        found = []
    if not 0 < len(found) <= REPORTS_MAX:
        raise QueryError("reports", f"must be a JSON list of 1 to {REPORTS_MAX} objects of texts, such as {_EXAMPLE}")
    return found


def _parse_one(common: Parameters, own: Parameters, now: datetime, zone: str) -> Query | QueryError:
    if unknown := sorted(set(own) - set(EACH)):
        return QueryError(unknown[0], f"unknown parameter of a report; known are {', '.join(EACH)}")
    try:
        return parse({**common, **own}, now, zone)
    except QueryError as error:
        return error


def together(query: BatchQuery, reports: Sequence[Mapping[str, Any] | QueryError]) -> Row:
    """The answer, of the reports of `query.each`. Raises QueryError where there is
    none.
    """
    found = [each for each in reports if not isinstance(each, QueryError)]
    if not found:
        raise next(each for each in reports if isinstance(each, QueryError))
    header = {name: found[0][name] for name in _OF_ALL if name in found[0]}
    return {"kind": query.kind, "reports": list(map(_one, reports)), **header}


def _one(report: Mapping[str, Any] | QueryError) -> Row:
    if isinstance(report, QueryError):
        return {"problem": {"status": 400, "code": "query", "detail": str(report)}}
    return {name: of for name, of in report.items() if name not in _OF_ALL}
