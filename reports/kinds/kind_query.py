"""What the kinds of report that have an address of their own share: a query of such a
kind, made of the parameters that every report has and of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from reports.filters import OF_VISITS
from reports.query import Query, parse, query_fields
from reports.query_error import QueryError
from shared.sql.visits import ENDS_OF_VISITS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Of /admin/api/<kind> and of `foldlog report --kind`.
Parameters = Mapping[str, str]


@dataclass(frozen=True)
class KindQuery(Query):
    """A query of one kind. What a kind asks besides is a field of its own."""

    kind: ClassVar[str] = ""


def common_query(
    parameters: Parameters, own: tuple[str, ...], common: tuple[str, ...], now: datetime, zone: str
) -> dict[str, Any]:
    """The fields of a Query, of the parameters that every report has. `own`: names that
    only this kind has; `common`: those of a report that it takes. Raises QueryError.
    """
    known = (*common, *own)
    if unknown := sorted(set(parameters) - set(known)):
        raise QueryError(unknown[0], f"unknown parameter; known are {', '.join(known)}")
    for name in own:
        _require_unicode(name, parameters.get(name, ""))
    query = parse({name: text for name, text in parameters.items() if name in common}, now, zone)
    if query.is_of_visits:
        raise QueryError("by" if query.by in ENDS_OF_VISITS else "filter", OF_VISITS)
    return query_fields(query)


def one_of(parameter: str, text: str, allowed: tuple[str, ...]) -> str:
    """A text that is one of these; empty, the first of them. Raises QueryError."""
    if text and text not in allowed:
        raise QueryError(parameter, f"must be one of {', '.join(allowed)}")
    return text or allowed[0]


def _require_unicode(name: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise QueryError(name, "must be UTF-8") from None
