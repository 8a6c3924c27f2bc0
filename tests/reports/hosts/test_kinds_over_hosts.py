"""Kinds of report with a name answer over all hosts of a store as one directory that
has the events of all, in any form.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import duckdb
import pytest

from reports.batch import answer_of
from reports.hosts.asked import Asked
from reports.hosts.hosts_store import hosts_store
from reports.kinds import goals, parse_question
from reports.query import Query
from reports.report import Source, source_of
from reports.rows import Row
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.named_filters import NamedFilter
from tests.builders.hosts import publish_as
from tests.builders.kinds import LAST, NOW, make_events
from tests.builders.logs import data_directory, fold, sealed
from tests.builders.postgres import Server

pytestmark = pytest.mark.component

GOALS = goals.given([NamedFilter("goal", "sign up", "event==signup"), NamedFilter("goal", "a", "path==/a", 2.0)])
SPAN = {"from": "2026-10-05", "to": "2026-10-16"}
QUESTIONS: list[dict[str, str]] = [
    {"kind": "cohorts", "period": "day", **SPAN},
    {"kind": "cohorts", "event": "signup", "return": "event==pageview", "tz": "Europe/Berlin", **SPAN},
    {"kind": "goals", "goals": GOALS, "interval": "week", **SPAN},
    {"kind": "goals", "goals": GOALS, "filter": "country!=FR", "bots": "include", **SPAN},
    {"kind": "funnel", "steps": "event==pageview;;path!=;;event==signup", "window": "3d", **SPAN},
    {"kind": "funnel", "steps": "path!=;;event==signup", "by": "country", "limit": "2", **SPAN},
    {"kind": "funnel", "steps": "path!=;;event==signup", "window": "visit", **SPAN},
    {"kind": "paths", "at": "pageview", "by": "event", "limit": "3", **SPAN},
    *({"kind": "live", "at": f"2026-10-{day:02}T12:00:00Z", "limit": "100"} for day in range(8, 14)),
]


BATCHED = (
    {"by": "path", "limit": "3"},
    {"by": "country", "measures": "events"},
    {"by": "event", "measures": "events"},
    {"by": "nothing"},
    {"by": "entry", "measures": "visits"},
    {"measures": "visitors,visits,bounce_rate,value_sum", "compare": "previous"},
    {"interval": "day", "measures": "visitors", "compare": "previous"},
)
BATCHES: list[dict[str, str]] = [
    {"kind": "batch", "reports": json.dumps(BATCHED), **more, **SPAN}
    for more in ({}, {"filter": "country!=FR"}, {"tz": "Europe/Berlin", "filter": "country!=FR", "bots": "include"})
]


def _report(database: duckdb.DuckDBPyConnection, query: Query, source: Source) -> Row:
    return answer_of(database, source, query, 1 << 30)


def test_kinds_answer_over_hosts_as_one_directory_of_all(tmp_path: Path, server: Server) -> None:
    events = [event for event in make_events(seed=3, count=900) if event.time < "2026-10-17"]
    halves = {"one": events[::2], "other": events[1::2], "all": events}
    directories = {}
    for name, lines in halves.items():
        directories[name] = data_directory(tmp_path / name)
        sealed(directories[name], lines)
        fold(directories[name], LAST)
    address = server.database()
    for name in ("one", "other"):
        publish_as(name, directories[name], address)
    with ExitStack() as closing:
        store = closing.enter_context(hosts_store(directories["one"], address, 1 << 30, 0))
        database = closing.enter_context(connect(256 << 20, 1))
        whole = load_snapshot(directories["all"])
        for asked in (*QUESTIONS, *BATCHES):
            query = parse_question(asked, NOW, "UTC")
            found = store.read(Asked(query, "UTC"), partial(_report, database, query))
            expected = answer_of(database, source_of(directories["all"], whole, query), query, 1 << 30)
            assert {each["host"] for each in found["hosts"]} == {"one", "other"}
            beside = ("hosts", "generation", "as_of")
            assert {name: value for name, value in found.items() if name not in beside} == {
                name: value for name, value in expected.items() if name not in beside
            }
            total = (found["reports"][0] if asked["kind"] == "batch" else found)["total"]
            assert asked["kind"] == "live" or total["visitors"] > 10
