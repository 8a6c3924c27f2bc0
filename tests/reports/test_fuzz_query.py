"""Parameters of reports and exports that mean anything or nothing: a query, or one
error that names a parameter; the same each time, and at a bounded price.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from reports.query import PARAMETERS, Query, parse
from reports.query_error import QueryError
from shared.schema import DIMENSIONS
from tests.builders.corpus import corpus, kept_if_it_fails

NAME = "query"
NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
CPU_S_MAX = 2.0  # a hundred times what it takes

WORDS = [
    *("", "2026-11-22", "2026-W47-7", "1970-01-01", "9998-12-31", "9999-12-31", "0001-01-01", "2026-02-29"),
    *("2026-11-22T00:00:00Z", "1970-01-01T00:00:00+14:00", "9998-12-31T23:59:59-14:00", "2026-11-22T00:00 01:00"),
    *("hour", "day", "week", "month", "none", "exact", "exclude", "include", "only", "all", "host", "csv", "json"),
    *("UTC", "Asia/Kathmandu", "Europe", "../etc/passwd", "/etc/passwd", "\0", "Pacific/Apia", "localtime"),
    *("props.", "props.a", "props.a.b=c", "path==/a;country!=DE", "path==a\\;b", ";;;;", "path=/a", "==", "1", "10000"),
    *(
        "0",
        "-1",
        "1e3",
        "\u0661",
        "9" * 5_000,
        "x" * 5_000,
        "path==" * 900,
        "path=~" + "*a" * 900,
        "path==" + "|" * 900,
        "value>1",
        "value<1e9",
        "events,visitors",
        "\udcff",
        "\ud800",
        "\ufeff",
        "' or 1=1 --",
    ),
]
texts = st.sampled_from(WORDS) | st.text() | st.sampled_from(DIMENSIONS)
joined = st.lists(texts, max_size=4).map("".join)
names = st.sampled_from(PARAMETERS) | st.text(st.characters(codec="utf-8"), max_size=8)


def try_one(parameters: dict[str, str]) -> None:
    begun = time.process_time()
    outcomes: list[tuple[str, Query | str]] = []
    for _ in range(2):
        try:
            outcomes.append(("query", parse(parameters, NOW, "UTC")))
        except QueryError as error:
            outcomes.append((error.parameter, str(error)))
            assert error.parameter in {*parameters, "from", "to", "interval"}
            assert len(str(error).encode("utf-8")) < 500 + len(error.parameter.encode("utf-8"))
    assert outcomes[0] == outcomes[1], "the same twice"
    assert time.process_time() - begun < CPU_S_MAX
    if isinstance(query := outcomes[0][1], Query):
        assert query.start < query.end
        for text in (
            query.event,
            query.site,
            query.by,
            *(each.field + "".join(each.values) for each in query.conditions),
        ):
            (text or "").encode("utf-8")  # as DuckDB will
        assert len(query.bucket_starts()) <= 10_000


def test_kept_parameters_are_a_query_or_a_clear_error() -> None:
    for content in corpus(NAME):
        try_one(json.loads(content))


@given(st.dictionaries(names, joined, max_size=6))
def test_any_parameters_are_a_query_or_a_clear_error(parameters: dict[str, str]) -> None:
    with kept_if_it_fails(NAME, json.dumps(parameters).encode()):
        try_one(parameters)
