"""Several reports in one question: each equals the report of it alone, whatever is
asked; and nothing is left behind.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from ingest.collect.encode import Line
from reports.batch import answer_of
from reports.kinds import parse_question
from reports.kinds.batch import REPORTS_MAX
from reports.query_error import QueryError
from reports.report import Source, source_of
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.logs import FIREFOX, GOOGLEBOT, NOON, data_directory, fold_all, line, sealed
from tests.builders.questions import ZONES, instant

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY_MS, QUARTER_MS = 86_400_000, 15 * 60_000
ROOM = 1 << 40
OF_A_WEEK = {"from": "2026-11-15", "to": "2026-11-22", "filter": "country==FR"}


def batch(common: dict[str, str], *each: dict[str, str]) -> dict[str, str]:
    return common | {"kind": "batch", "reports": json.dumps(each)}


TOGETHER = batch(OF_A_WEEK, *({"by": name} for name in ("path", "event", "os")))
NAMES = (
    *("event", "site", "path", "referrer", "source", "channel", "utm_campaign", "utm_term", "country", "language"),
    *("browser", "browser_version", "os", "device", "hostname", "not_found", "props.plan", "query.q", "entry", "exit"),
)
FILTERS = (
    *("country==FR", "country!=FR;path=~/[ab]*", "path==/a|/b", "props.plan==pro", "value>2", "channel==Referral"),
    *("utm_campaign==spring", "query.q!=", "browser==Firefox;event==signup", "path==/none", "source!~*.example.org"),
)
MEASURES = (
    *("events", "events,visitors", "visitors", "events,value_sum,value_p95", "visitors,engaged_time"),
    *("events,visitors,visits", "visits,bounce_rate"),
)


class World(NamedTuple):
    data: DataDirectory
    database: duckdb.DuckDBPyConnection
    spill: Path

    def source(self, asked: dict[str, str]) -> Source:
        query = parse_question(asked, NOW, "UTC")
        return source_of(self.data, load_snapshot(self.data), query)

    def answer(self, asked: dict[str, str], room: int = ROOM) -> dict[str, Any]:
        return answer_of(self.database, self.source(asked), parse_question(asked, NOW, "UTC"), room)


def make_events() -> list[Line]:
    pick = random.Random(22)
    return [
        line(
            f"event-{number:06}",
            NOON - pick.randrange(8 * 96) * QUARTER_MS - pick.choice([0, 0, 1]),
            NOON + pick.randrange(2),
            name=pick.choice(["pageview", "pageview", "signup", "engaged", "404"]),
            visitor=pick.choice([None, *(f"visitor-{visitor}" for visitor in range(40))]),
            url=f"https://{pick.choice(['example.com', 'www.example.com:8443'])}/{pick.choice('abcd')}"
            + pick.choice(["", "?q=x", "?utm_campaign=spring&utm_term=a+b&utm_medium=cpc", "#q=y"]),
            site=pick.choice(["example.com", "example.com", "www.other.org"]),
            referrer=pick.choice([None, "https://www.google.com/search", "https://news.example.org/a/b"]),
            ua=pick.choice([FIREFOX, FIREFOX, GOOGLEBOT]),
            language=pick.choice([None, "de", "en"]),
            country=pick.choice([None, "FR", "DE", "US"]),
            value=pick.choice([None, 1.5, 10.0, -3.0]),
            props=pick.choice([None, {"plan": "pro"}, {"plan": "free", "status": 404}]),
        )
        for number in range(1_500)
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("batch")
    data, events = data_directory(root / "data"), make_events()
    for lines in (events[::2], events[1::2]):
        sealed(data, lines)
        fold_all(data, NOON)
    with closing(connect(256 << 20, 2, root / "spill")) as database:
        yield World(data, database, root / "spill")


def random_common(pick: random.Random) -> dict[str, str]:
    edges = sorted(NOON - pick.randrange(8 * 96) * QUARTER_MS + pick.choice([0, 1, -1]) for _ in range(2))
    days = {"from": f"2026-11-{pick.randrange(15, 19)}", "to": f"2026-11-{pick.randrange(19, 23)}"}
    times = {"from": instant(edges[0]), "to": instant(edges[1] + 2)}
    return given(
        **pick.choice([days, days, times]),
        tz=pick.choice(ZONES),
        filter=pick.choice(FILTERS),
        bots=pick.choice(["exclude", "include", "only"]),
        site=pick.choice([None, None, "www.other.org"]),
    )


def random_report(pick: random.Random) -> dict[str, str]:
    return given(
        by=pick.choice([None, *NAMES]),
        interval=pick.choice([None, None, "day", "hour", "week"]),
        measures=pick.choice(MEASURES),
        limit=pick.choice(["1", "3", "20"]),
        compare=pick.choice([None, "previous", "year"]),
        event=pick.choice([None, None, "pageview"]),
    )


def given(**chosen: str | None) -> dict[str, str]:
    return {name: value for name, value in chosen.items() if value is not None}


def alone(world: World, asked: dict[str, str]) -> dict[str, Any] | str:
    """The report, or why it cannot be asked for."""
    try:
        return world.answer(asked)
    except QueryError as error:
        return str(error)


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 40))])
def test_each_report_equals_the_report_of_it_alone(world: World, seed: int) -> None:
    pick = random.Random(seed)
    common, each = random_common(pick), [random_report(pick) for _ in range(pick.randrange(1, 8))]
    single = [alone(world, common | own) for own in each]
    if all(isinstance(one, str) for one in single):
        assert alone(world, batch(common, *each)) == single[0]
        return
    together = world.answer(batch(common, *each))
    once = {name: together[name] for name in together if name not in ("kind", "reports")}
    for one, found in zip(single, together["reports"], strict=True):
        if isinstance(one, str):
            assert found == {"problem": {"status": 400, "code": "query", "detail": one}}
        else:
            assert {**once, **found} == one
    assert list(world.spill.rglob("matching-*")) == []


def test_page_is_answered_as_its_parts_are(world: World) -> None:
    """What the dashboard asks, over whole days: the files have times for the chart."""
    each = [
        {"measures": "visitors,visits,bounce_rate,events,value_sum", "compare": "previous"},
        {"measures": "events", "event": "pageview", "compare": "previous"},
        {"measures": "visitors", "interval": "day", "compare": "previous"},
        *({"by": name, "measures": "visitors,events", "limit": "9"} for name in ("path", "source", "country", "entry")),
    ]
    common = {"from": "2026-11-19", "to": "2026-11-22", "filter": "country==FR"}
    together = world.answer(batch(common, *each))
    once = {name: together[name] for name in together if name not in ("kind", "reports")}
    assert [{**once, **found} for found in together["reports"]] == [world.answer(common | own) for own in each]
    assert together["reports"][2]["rows"][0]["previous"]["visitors"] > 0


@pytest.mark.parametrize("limit", ["1", "3", "100"])
@pytest.mark.parametrize("site", ["example.com", ""])
def test_events_alone_by_several_dimensions_are_those_of_each(world: World, limit: str, site: str) -> None:
    """Also of values of different kinds, some of which many events have none of."""
    names = ("path", "props.plan", "props.status", "query.q", "channel", "utm_term", "country", "not_found")
    each = [{"by": name, "measures": "events", "limit": limit} for name in names]
    each += [{"by": "path", "measures": "events", "event": event, "limit": "2"} for event in ("signup", "pageview")]
    each += [{"by": "os", "measures": "events", "event": "signup", "compare": "previous"}]
    common = {"from": "2026-11-17", "to": "2026-11-22", "filter": "country==FR|DE", "site": site}
    together = world.answer(batch(common, *each))
    once = {name: together[name] for name in together if name not in ("kind", "reports")}
    assert [{**once, **found} for found in together["reports"]] == [world.answer(common | own) for own in each]


def test_a_file_is_read_instead_of_the_archive_where_there_is_room(world: World) -> None:
    """So that the test above compares what it is about."""
    opened: list[int] = []

    def answer(room: int) -> dict[str, Any]:
        source, query = world.source(TOGETHER), parse_question(TOGETHER, NOW, "UTC")

        def open_parts(parts: Any) -> list[str]:
            opened.append(len(parts))
            return source.open_parts(parts)

        opened.clear()
        return answer_of(world.database, source._replace(open_parts=open_parts), query, room)

    with_file = answer(ROOM)
    assert len(opened) == 1
    assert answer(1_000) == with_file  # each reads the archive, and one of them counts the total
    assert len(opened) > 3


def test_engaged_time_is_counted_beside_an_event(world: World) -> None:
    """Of `engaged` events, which are none of those that are asked for."""
    each = [
        {"by": name, "event": "pageview", "measures": "visitors,engaged_time"} for name in ("path", "os", "country")
    ]
    together = world.answer(batch(OF_A_WEEK, *each))
    assert together["reports"][0]["total"]["engaged_time"] > 0
    for own, found in zip(each, together["reports"], strict=True):
        assert found["rows"] == world.answer(OF_A_WEEK | own)["rows"]


def test_file_is_deleted_after_a_report_that_failed(world: World) -> None:
    source, query = world.source(TOGETHER), parse_question(TOGETHER, NOW, "UTC")

    class Full(Exception):
        pass

    def interrupted(_: Any) -> list[str]:
        raise Full

    opened = iter([source.open_parts, interrupted])
    with pytest.raises(Full):
        answer_of(world.database, source._replace(open_parts=lambda parts: next(opened)(parts)), query, 1_000)
    with pytest.raises(Full):
        answer_of(world.database, source._replace(open_parts=interrupted), query, ROOM)
    assert list(world.spill.rglob("matching-*")) == []


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({}, "reports"),
        ({"reports": "path"}, "reports"),
        ({"reports": "[]"}, "reports"),
        ({"reports": '["path"]'}, "reports"),
        ({"reports": '[{"limit":9}]'}, "reports"),
        ({"reports": "[" * 5000}, "reports"),
        ({"reports": '[{"by":"\udcff"}]'}, "reports"),
        ({"reports": '[{"by":"\\ud800"}]'}, "reports"),
        ({"reports": json.dumps([{}] * (REPORTS_MAX + 1))}, "reports"),
        ({"reports": json.dumps([{"by": "path", "limit": "5001"}] * 2)}, "reports"),
        ({"reports": json.dumps([{"by": "path", "limit": "5001", "interval": "day"}])}, "reports"),
        ({"reports": '[{"by":"nothing"}]'}, "by"),
        ({"reports": '[{"site":"example.com"}]'}, "site"),
        ({"reports": '[{"by":"entry","event":"pageview"}]'}, "filter"),
        ({"reports": "[{}]", "filter": "path"}, "filter"),
        ({"reports": "[{}]", "by": "path"}, "by"),
    ],
)
def test_question_that_cannot_be_is_refused(asked: dict[str, str], parameter: str) -> None:
    with pytest.raises(QueryError) as found:
        parse_question({"kind": "batch", **asked}, NOW, "UTC")
    assert str(found.value).startswith(parameter)


def test_report_that_cannot_be_asked_costs_itself_alone(world: World) -> None:
    together = world.answer(batch(OF_A_WEEK, {"by": "nothing"}, {"by": "path"}, {"site": "www.other.org"}))
    bad, good, other = together["reports"]
    assert bad["problem"]["detail"].startswith("by: ") and other["problem"]["detail"].startswith("site: ")
    assert good["rows"] == world.answer(OF_A_WEEK | {"by": "path"})["rows"]
