"""The grammar of a report: what each parameter accepts, and which error names it
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.filters import FILTERS_MAX, STARS_MAX, VALUES_MAX, Condition
from reports.measures.names import MEASURES
from reports.query import BUCKETS_MAX, LIMIT_MAX, Query, parse
from reports.query_error import QueryError
from shared.schema import DIMENSIONS

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)


def query(parameters: Mapping[str, str] | None = None, zone: str = "UTC", **more: str) -> Query:
    """`from_` stands for `from`."""
    named = {name.rstrip("_"): value for name, value in more.items()}
    return parse({**(parameters or {}), **named}, NOW, zone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# Name; parameters; start and end in UTC.
SPANS: dict[str, tuple[dict[str, str], str, str]] = {
    "the seven days that end today": ({}, "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
    "today by the clock of the zone": ({"tz": "Pacific/Auckland"}, "2026-11-17T00:00+13:00", "2026-11-24T00:00+13:00"),
    "one day": ({"from": "2026-11-22", "to": "2026-11-22"}, "2026-11-22T00:00Z", "2026-11-23T00:00Z"),
    "one day in a zone": (
        {"from": "2026-11-22", "to": "2026-11-22", "tz": "Europe/Berlin"},
        "2026-11-22T00:00+01:00",
        "2026-11-23T00:00+01:00",
    ),
    "from alone ends today": ({"from": "2026-11-01"}, "2026-11-01T00:00Z", "2026-11-23T00:00Z"),
    "to alone begins six days before": ({"to": "2026-03-07"}, "2026-03-01T00:00Z", "2026-03-08T00:00Z"),
    "instants are half open": (
        {"from": "2026-11-22T15:00:00Z", "to": "2026-11-22T16:00:00Z"},
        "2026-11-22T15:00Z",
        "2026-11-22T16:00Z",
    ),
    "instants have zones of their own": (
        {"from": "2026-11-22T15:00:00+01:00", "to": "2026-11-22T16:00:00-05:00", "tz": "Asia/Tokyo"},
        "2026-11-22T14:00Z",
        "2026-11-22T21:00Z",
    ),
    "a plus that arrives as a space": (
        {"from": "2026-11-22T15:00:00 01:00", "to": "2026-11-23"},
        "2026-11-22T14:00Z",
        "2026-11-24T00:00Z",
    ),
    "empty is absent": ({"from": "", "to": "", "tz": ""}, "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
    "a leap day": ({"from": "2028-02-29", "to": "2028-02-29"}, "2028-02-29T00:00Z", "2028-03-01T00:00Z"),
}


@pytest.mark.parametrize(("parameters", "start", "end"), SPANS.values(), ids=SPANS)
def test_span(parameters: dict[str, str], start: str, end: str) -> None:
    found = query(parameters)
    assert (found.start, found.end) == (at(start), at(end))


def test_default_zone_is_the_one_passed() -> None:
    assert query(zone="Asia/Tokyo", from_="2026-11-22").start == at("2026-11-22T00:00+09:00")
    assert query(zone="Asia/Tokyo", tz="UTC", from_="2026-11-22").start == at("2026-11-22T00:00Z")


# Name; parameters; a field of the query and its value.
GOOD: dict[str, tuple[dict[str, str], str, object]] = {
    "interval none": ({"interval": "none"}, "interval", "none"),
    "interval hour": ({"interval": "hour"}, "interval", "hour"),
    "interval empty": ({"interval": ""}, "interval", "none"),
    "interval quarter": ({"interval": "quarter"}, "interval", "quarter"),
    "interval year": ({"interval": "year"}, "interval", "year"),
    "week by default": ({}, "week", "monday"),
    "week from Sunday": ({"week": "sunday"}, "week", "sunday"),
    "by a dimension": ({"by": "path"}, "by", "path"),
    "by a property": ({"by": "props.plan"}, "by", "props.plan"),
    "by a property with dots": ({"by": "props.a.b c"}, "by", "props.a.b c"),
    "by a property of 100 characters": ({"by": "props." + "k" * 100}, "by", "props." + "k" * 100),
    "by empty": ({"by": ""}, "by", None),
    "event": ({"event": "sign up; or -- not"}, "event", "sign up; or -- not"),
    "event empty": ({"event": ""}, "event", None),
    "site": ({"site": "example.com"}, "site", "example.com"),
    "limit 1": ({"limit": "1"}, "limit", 1),
    "limit at its maximum": ({"limit": str(LIMIT_MAX)}, "limit", LIMIT_MAX),
    "limit with zeros": ({"limit": "00010"}, "limit", 10),
    "limit empty": ({"limit": ""}, "limit", 100),
    "bots include": ({"bots": "include"}, "bots", "include"),
    "bots only": ({"bots": "only"}, "bots", "only"),
    "bots by default": ({}, "bots", "exclude"),
    "visitors none": ({"visitors": "none"}, "measures", ("events",)),
    "visitors exact": ({"visitors": "exact"}, "measures", ("events", "visitors")),
    "measures by default": ({}, "measures", ("events", "visitors")),
    "measures empty": ({"measures": ""}, "measures", ("events", "visitors")),
    "one measure": ({"measures": "visitors"}, "measures", ("visitors",)),
    "measures in another order": ({"measures": "visitors,events"}, "measures", ("visitors", "events")),
    "a measure named twice": ({"measures": "events,events"}, "measures", ("events",)),
    "measures without visitors": ({"measures": "events", "visitors": "none"}, "measures", ("events",)),
    "format is not part of the query": ({"format": "csv"}, "interval", "none"),
}


@pytest.mark.parametrize(("parameters", "field", "expected"), GOOD.values(), ids=GOOD)
def test_valid_parameter(parameters: dict[str, str], field: str, expected: object) -> None:
    assert getattr(query(parameters), field) == expected


def test_unknown_measure_is_answered_with_the_known_ones() -> None:
    with pytest.raises(QueryError) as caught:
        query(measures="clicks")
    assert all(name in str(caught.value) for name in MEASURES)


def test_every_dimension_is_valid() -> None:
    assert [query(by=name).by for name in DIMENSIONS] == list(DIMENSIONS)


# Name; parameters; the parameter that the error names.
BAD: dict[str, tuple[dict[str, str], str]] = {
    "an unknown parameter": ({"form": "2026-11-22"}, "form"),
    "a parameter in another case": ({"From": "2026-11-22"}, "From"),
    "from a word": ({"from": "yesterday"}, "from"),
    "from without a zone": ({"from": "2026-11-22T15:00:00"}, "from"),
    "from a day that does not exist": ({"from": "2026-02-29"}, "from"),
    "from before 1970": ({"from": "1969-12-31T23:59:59Z"}, "from"),
    "from in year 9999": ({"from": "9999-12-31T00:00:00Z"}, "from"),
    "from after to": ({"from": "2026-11-23", "to": "2026-11-22"}, "from"),
    "from at to": ({"from": "2026-11-22T15:00:00Z", "to": "2026-11-22T15:00:00Z"}, "from"),
    "from tomorrow": ({"from": "2026-11-24"}, "from"),
    "to a word": ({"to": "x" * 10}, "to"),
    "to the end of time": ({"to": "9999-12-31"}, "to"),
    "to with SQL": ({"to": "2026-11-22'; DROP TABLE x; --"}, "to"),
    "tz unknown": ({"tz": "Mars/Olympus"}, "tz"),
    "tz a path": ({"tz": "../../etc/passwd"}, "tz"),
    "tz an absolute path": ({"tz": "/etc/localtime"}, "tz"),
    "tz a folder": ({"tz": "Europe"}, "tz"),
    "tz a file that is not a zone": ({"tz": "zone.tab"}, "tz"),
    "tz with NUL": ({"tz": "UTC\0"}, "tz"),
    "tz with a lone surrogate": ({"tz": "\udcff"}, "tz"),
    "tz very long": ({"tz": "x" * 10_000}, "tz"),
    "interval unknown": ({"interval": "minute"}, "interval"),
    "interval in another case": ({"interval": "Day"}, "interval"),
    "week on another day": ({"week": "friday"}, "week"),
    "interval with too many rows": ({"from": "2026-01-01", "to": "2026-12-31", "interval": "15m"}, "interval"),
    "by unknown": ({"by": "visitor"}, "by"),
    "by an empty property": ({"by": "props."}, "by"),
    "by a property of 101 characters": ({"by": "props." + "k" * 101}, "by"),
    "by SQL": ({"by": "path; DROP TABLE x"}, "by"),
    "limit 0": ({"limit": "0"}, "limit"),
    "limit negative": ({"limit": "-1"}, "limit"),
    "limit above its maximum": ({"limit": str(LIMIT_MAX + 1)}, "limit"),
    "limit a fraction": ({"limit": "1.5"}, "limit"),
    "limit a word": ({"limit": "all"}, "limit"),
    "limit in non-ASCII digits": ({"limit": "١٢"}, "limit"),
    "limit of 5000 digits": ({"limit": "9" * 5000}, "limit"),
    "bots unknown": ({"bots": "yes"}, "bots"),
    "visitors unknown": ({"visitors": "some"}, "visitors"),
    "visitors asked for and left out": ({"measures": "visitors", "visitors": "none"}, "visitors"),
    "measures unknown": ({"measures": "events,clicks"}, "measures"),
    "measures with an empty name": ({"measures": "events,"}, "measures"),
    "measures with a blank": ({"measures": "events, visitors"}, "measures"),
    "measures of 5000 names": ({"measures": "events," * 5000}, "measures"),
    "filter with one =": ({"filter": "path=/a"}, "filter"),
    "filter without a field": ({"filter": "==a"}, "filter"),
    "filter on an unknown field": ({"filter": "visitor==a"}, "filter"),
    "filter on an empty property": ({"filter": "props.==a"}, "filter"),
    "filter on a property of 101 characters": ({"filter": f"props.{'k' * 101}==a"}, "filter"),
    "filter with a good and a bad condition": ({"filter": "path==/a;x"}, "filter"),
    "filter with too many conditions": ({"filter": ";".join(["path==/a"] * (FILTERS_MAX + 1))}, "filter"),
    "filter with too many values": ({"filter": "path==" + "|" * VALUES_MAX}, "filter"),
    "filter with too many values of several conditions": (
        {"filter": ";".join(["path==" + "|" * (VALUES_MAX // 10)] * 10)},
        "filter",
    ),
    "filter with too many stars": ({"filter": "path=~" + "*a" * (STARS_MAX + 1)}, "filter"),
    "filter with more than on a dimension": ({"filter": "path>1"}, "filter"),
    "filter with a value that is equal": ({"filter": "value==1"}, "filter"),
    "filter with more than a word": ({"filter": "value>x"}, "filter"),
    "filter with more than infinity": ({"filter": "value>inf"}, "filter"),
    "filter with more than the largest number": ({"filter": "value>1e999"}, "filter"),
    "filter with more than nothing": ({"filter": "value>"}, "filter"),
    "filter with at least a number": ({"filter": "value>=1"}, "filter"),
    "filter with more than one of two numbers": ({"filter": "value>1|2"}, "filter"),
    "filter with SQL for a field": ({"filter": "1=1 OR path==/a"}, "filter"),
}


@pytest.mark.parametrize(("parameters", "parameter"), BAD.values(), ids=BAD)
def test_invalid_parameter_is_named_in_the_error(parameters: dict[str, str], parameter: str) -> None:
    with pytest.raises(QueryError) as caught:
        query(parameters)
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith(f"{parameter}: ")


ENDS_OF_TIME = {
    "a week before the first day": {"to": "0001-01-03"},
    "the first day in the east": {"to": "0001-01-01", "tz": "Asia/Tokyo"},
    "the month after the last": {"from": "9999-12-01", "to": "9999-12-30", "interval": "month"},
    "the week after the last": {"from": "9999-12-20", "to": "9999-12-30", "interval": "week"},
}


@pytest.mark.parametrize("parameters", ENDS_OF_TIME.values(), ids=ENDS_OF_TIME)
def test_ends_of_the_calendar_are_invalid(parameters: dict[str, str]) -> None:
    with pytest.raises(QueryError):
        query(parameters)


# Name; filter; its conditions.
FILTERS: dict[str, tuple[str, list[Condition]]] = {
    "one": ("path==/a", [Condition("path", "==", ("/a",))]),
    "not": ("country!=DE", [Condition("country", "!=", ("DE",))]),
    "two": ("path==/a;country!=DE", [Condition("path", "==", ("/a",)), Condition("country", "!=", ("DE",))]),
    "empty": ("", []),
    "only semicolons": (";;", []),
    "a last semicolon": ("path==/a;", [Condition("path", "==", ("/a",))]),
    "an escaped semicolon": (r"path==/a\;b", [Condition("path", "==", ("/a;b",))]),
    "escaped semicolons and a plain one": (
        r"path==\;a\;;browser==x",
        [Condition("path", "==", (";a;",)), Condition("browser", "==", ("x",))],
    ),
    "a backslash of its own": (r"path==a\b", [Condition("path", "==", (r"a\b",))]),
    "empty value: events without one": ("referrer==", [Condition("referrer", "==", ("",))]),
    "not empty: events with any value": ("referrer!=", [Condition("referrer", "!=", ("",))]),
    "a property": ("props.plan==pro", [Condition("props.plan", "==", ("pro",))]),
    "a property with spaces and dots": ("props.a b.c==d", [Condition("props.a b.c", "==", ("d",))]),
    "operators in the value": ("path==a==b!=c", [Condition("path", "==", ("a==b!=c",))]),
    "several values": ("country==DE|FR", [Condition("country", "==", ("DE", "FR"))]),
    "none of several values": ("country!=DE|FR", [Condition("country", "!=", ("DE", "FR"))]),
    "a value or none": ("country==DE|", [Condition("country", "==", ("DE", ""))]),
    "an escaped bar": (r"path==a\|b|c", [Condition("path", "==", ("a|b", "c"))]),
    "an escaped bar and semicolon": (r"path==a\;\|b", [Condition("path", "==", ("a;|b",))]),
    "a glob": ("path=~/docs/*", [Condition("path", "=~", ("/docs/*",))]),
    "a glob that must not match": ("path!~/docs/*|/a", [Condition("path", "!~", ("/docs/*", "/a"))]),
    "a glob with an escaped star": (r"path=~/a\**", [Condition("path", "=~", (r"/a\**",))]),
    "a glob on a property": ("props.a~b=~x*", [Condition("props.a~b", "=~", ("x*",))]),
    "a tilde in the value": ("path==~/a", [Condition("path", "==", ("~/a",))]),
    "a star in a value that is compared": ("path==/a*", [Condition("path", "==", ("/a*",))]),
    "more than a number": ("value>9.5", [Condition("value", ">", ("9.5",))]),
    "less than a negative number": ("value<-1e3", [Condition("value", "<", ("-1e3",))]),
    "a range": ("value>1;value<2", [Condition("value", ">", ("1",)), Condition("value", "<", ("2",))]),
    "as many stars as allowed": ("path=~" + "*" * STARS_MAX, [Condition("path", "=~", ("*" * STARS_MAX,))]),
    "as many values as allowed": (
        "path==" + "|".join(["a"] * VALUES_MAX),
        [Condition("path", "==", ("a",) * VALUES_MAX)],
    ),
    "a newline in the value": ("path==a\nb", [Condition("path", "==", ("a\nb",))]),
    "quotes in the value": ("path==a'b\"c", [Condition("path", "==", ("a'b\"c",))]),
    "as many as allowed": (";".join(["path==/a"] * FILTERS_MAX), [Condition("path", "==", ("/a",))] * FILTERS_MAX),
}


@pytest.mark.parametrize(("text", "expected"), FILTERS.values(), ids=FILTERS)
def test_filter_grammar(text: str, expected: list[Condition]) -> None:
    assert list(query(filter=text).conditions) == expected


@given(st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs"]), min_size=1))
def test_filter_can_match_any_value(value: str) -> None:
    escaped = value.replace(";", r"\;").replace("|", r"\|")
    assert query(filter=f"path=={escaped};os!=x").conditions == (
        Condition("path", "==", (value,)),
        Condition("os", "!=", ("x",)),
    )


@given(
    st.dictionaries(
        st.sampled_from(["to", "tz", "interval", "by", "event", "site", "filter", "limit", "bots"]),
        st.text(max_size=12)
        | st.sampled_from(["day", "path", "UTC", "2026-11-22", "1", "only", "props.x", "path==/a"]),
    )
)
def test_any_parameters_are_a_query_or_an_error_that_names_one(parameters: dict[str, str]) -> None:
    try:
        found = query(parameters)
    except QueryError as error:
        assert error.parameter in {*parameters, "from"}
    else:
        assert found.start < found.end


def test_number_of_rows_is_limited_exactly() -> None:
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=BUCKETS_MAX)
    assert len(query(from_="2026-01-01T00:00:00Z", to=end.isoformat(), interval="hour").bucket_starts()) == BUCKETS_MAX
    with pytest.raises(QueryError, match="interval"):
        query(from_="2026-01-01T00:00:00Z", to=(end + timedelta(hours=1)).isoformat(), interval="hour")
