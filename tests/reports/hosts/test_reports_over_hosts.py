"""Reports over all hosts of a store equal a recount in plain Python over the events of
all of them, whatever form each host has counted its days in.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb
import msgspec
import pytest

from ingest.collect.encode import Line
from reports.hosts import part_packs
from reports.hosts.asked import Asked
from reports.hosts.hosts_store import HostsStore, hosts_store
from reports.query import parse
from reports.report import report_of
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.hosts import publish_as
from tests.builders.logs import NOON, data_directory, fold, fold_all, sealed
from tests.builders.postgres import Server
from tests.builders.questions import DAY_MS, questions
from tests.builders.random_lines import random_lines
from tests.builders.recount import Counted, as_answer, counted_events, recount

pytestmark = pytest.mark.component

NOW = datetime(2026, 12, 1, tzinfo=UTC)


class Hosts(NamedTuple):
    """Directories whose events are published."""

    directories: list[DataDirectory]
    store: HostsStore
    database: duckdb.DuckDBPyConnection
    events: list[Counted]

    def ask(self, **parameters: str) -> dict[str, Any]:
        query = parse(parameters, NOW, "UTC")
        return self.store.read(Asked(query, "UTC"), lambda source: report_of(self.database, source, query))


def own_lines(host: int, lines: Iterable[Line]) -> list[Line]:
    """As claims leave them: an id counts on one host only."""
    return [msgspec.structs.replace(each, id=f"host-{host}-{each.id}") for each in lines]


def assert_as_recounted(hosts: Hosts, asked: Mapping[str, str]) -> None:
    found, expected = as_answer(hosts.ask(**asked, limit="10000")), recount(hosts.events, asked)
    assert found == expected, asked


FORMS: dict[str, dict[str, Any]] = {
    "of one form": {},
    "one merged": {"merged": (0,)},
    "two merged": {"merged": (0, 1)},
    "one capped": {"merged": (0, 1, 2), "settings": ({"max_values": 3}, {}, {})},
    "all capped": {"merged": (0, 1, 2), "settings": ({"max_values": 3}, {"max_values": 2}, {"max_values": 3})},
    "one small, by quarter": {"merged": (0, 1, 2), "counts": (40, 1500, 700)},
}


# In the short tier: a host that differs from the others. Each form is made by every
# worker of pytest that runs one of its tests, and costs some ten seconds.
OFTEN = {"one merged"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in OFTEN else pytest.mark.long) for name in FORMS],
    ids=str,
)
def hosts(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    form = FORMS[request.param]
    place = tmp_path_factory.mktemp("hosts")
    pick = random.Random(request.param)
    written: list[Line] = []
    directories = []
    with ExitStack() as closing:
        address = server.database()
        for host, count in enumerate(form.get("counts", (300, 300, 200))):
            data = data_directory(place / str(host))
            settings = form.get("settings", ({}, {}, {}))[host]
            for first in (0, count):
                lines = own_lines(host, random_lines(pick, NOON, count, first))
                written += lines
                sealed(data, lines)
                fold(data, NOON, **settings)
            if host in form.get("merged", ()):
                for day in range(12):
                    fold_all(data, NOON + 2 * DAY_MS + day, **settings)
            publish_as(f"web-{host}", data, address)
            directories.append(data)
        store = closing.enter_context(hosts_store(directories[0], address, 1 << 30, 0))
        database = closing.enter_context(connect(256 << 20, 1))
        yield Hosts(directories, store, database, counted_events([msgspec.to_builtins(line) for line in written]))


def test_hosts_have_the_form_that_is_tested(hosts: Hosts, request: pytest.FixtureRequest) -> None:
    form = FORMS[request.node.callspec.params["hosts"]]
    snapshots = [load_snapshot(data) for data in hosts.directories]
    for host, snapshot in enumerate(snapshots):
        is_merged = host in form.get("merged", ())
        assert any(day.merged for day in snapshot.days.values()) == is_merged
        if "settings" in form:
            assert any(day.capped for day in snapshot.days.values()) == bool(form["settings"][host])


@pytest.mark.parametrize("seed", range(2))
def test_report_equals_the_recount_over_the_events_of_all(hosts: Hosts, seed: int) -> None:
    for asked in questions(NOON, random.Random(seed)):
        assert_as_recounted(hosts, asked)


@pytest.mark.parametrize("by", [{}, {"by": "path"}, {"by": "country", "filter": "path=~/*"}])
def test_both_times_of_a_comparison_equal_the_recount(hosts: Hosts, by: dict[str, str]) -> None:
    found = hosts.ask(**{"from": "2026-11-21", "to": "2026-11-22"}, compare="previous", limit="10000", **by)
    now, before = (
        recount(hosts.events, {"from": first, "to": last, **by, **({"filter": "path!="} if "filter" in by else {})})
        for first, last in (("2026-11-21", "2026-11-22"), ("2026-11-19", "2026-11-20"))
    )
    assert as_answer(found) == now
    assert (found["total"]["previous"]["events"], found["total"]["previous"]["visitors"]) == before.total
    for row in found["rows"]:
        earlier = before.rows.get((None, row.get("value")), (0, 0))
        assert (row["previous"]["events"], row["previous"]["visitors"]) == earlier


def test_report_from_packed_parts_equals_the_recount(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_packs, "PARTS_MIN", 2)
    monkeypatch.setattr(part_packs, "CHANGING_DAYS", 1)
    for asked in questions(NOON, random.Random(2)):
        for _ in range(3):
            assert_as_recounted(hosts, asked)
