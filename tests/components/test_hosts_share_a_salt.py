"""Two real servers on one PostgreSQL store: a visitor without an id is one visitor over
both (P11), and a server that had to use a salt of its own is named in the answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders.postgres import Server as Postgres
from tests.builders.server import Answer, Server
from tests.builders.stores import queried
from tests.builders.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.long]

BROWSER = {
    "Origin": "https://example.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0",
    "Content-Type": "application/json",
}
BODY = b'{"events":[{"name":"pageview","url":"https://example.com/"}],"consent":"granted"}'


def visit(server: Server) -> Answer:
    """The same visitor, on the same site, without an id."""
    return server.request("POST", "/v1/events", BODY, BROWSER)


def visitors(server: Server) -> set[str]:
    return {line["visitor"] for line in server.lines()}


def asked(server: Server) -> dict[str, Any]:
    """The report of today over all hosts."""
    answer = server.get("/admin/api/report")
    found: dict[str, Any] = answer.json()
    return found if answer.status == 200 else {"total": {"events": 0}, "hosts": []}


def assert_says_no_salt(server: Server) -> None:
    """Of those that it has now."""
    found = json.loads(server.data.salt.read_bytes())
    for salt in (found["salt"], found.get("next", found)["salt"]):
        assert salt not in server.stderr()


def test_visitor_without_an_id_is_one_over_two_servers(tmp_path: Path, postgres: Postgres) -> None:
    address = postgres.database()
    for name in "ab":
        (tmp_path / name).mkdir()
    with (
        Server(tmp_path / "a", store=address, sites="example.com", workers=2) as one,
        Server(tmp_path / "b", store=address, sites="example.com", workers=2) as other,
    ):
        for server in (one, other):
            assert visit(server).status == 200
        assert visitors(one) == visitors(other)
        assert len(visitors(one)) == 1
        for server in (one, other):
            server.fold()
        until(lambda: asked(one)["total"]["events"] == 2, lambda: (asked(one), one.log_tail()))
        report = asked(one)
        assert report["total"]["visitors"] == 1
        assert [host["own_salt_days"] for host in report["hosts"]] == [[], []]
        for server in (one, other):
            assert_says_no_salt(server)


def test_server_that_starts_without_its_store_is_named(tmp_path: Path, postgres: Postgres) -> None:
    address = postgres.database()
    for name in "ab":
        (tmp_path / name).mkdir()
    with Server(tmp_path / "a", store=address, sites="example.com") as one:
        assert visit(one).status == 200
        postgres.stop()
        with Server(tmp_path / "b", store=address, sites="example.com") as other:
            assert visit(other).status == 200
            assert visitors(one) != visitors(other)
            day = json.loads(other.data.salt.read_bytes())["day"]
            postgres.start()
            sql = "SELECT day::text FROM analytics_own_salts"
            until(lambda: queried(address, sql) == [(day,)], other.log_tail)
            for server in (one, other):
                server.fold()
            until(lambda: asked(one)["total"]["events"] == 2, lambda: (asked(one), one.log_tail(), other.log_tail()))
            own = json.loads(other.data.instance.read_bytes())["instance"]
            named = {host["instance"]: host["own_salt_days"] for host in asked(one)["hosts"]}
            assert [days for instance, days in named.items() if instance != own] == [[]]
            assert named[own] == [day]
            assert "store_salt_failed" in other.stderr()
            assert "store_salt_differs" in other.stderr()
            for server in (one, other):
                assert_says_no_salt(server)
