"""Who asks is answered over all hosts where the store knows them: through the reader
process, the command and a real server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from reports.reader.process import answer_report
from reports.reader.protocol import ReaderRequest, ReaderResponse
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS, TRY_AGAIN, USAGE
from tests.builders.command import run_here
from tests.builders.hosts import publish_as
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.postgres import Server as Postgres
from tests.builders.server import Server, environment
from tests.builders.waiting import until

NOW = datetime.fromtimestamp(NOON / 1000, UTC)
TODAY = ["--from", "2026-11-22", "--to", "2026-11-22"]


def a_host(root: Path, *ids: str) -> DataDirectory:
    data = data_directory(root)
    sealed(data, [line(each, NOON) for each in ids])
    fold(data, NOON)
    return data


def asked_of_reader(data: DataDirectory, store: str, **parameters: str) -> tuple[ReaderResponse, Any]:
    request = ReaderRequest(
        *("report", str(data.root), "UTC", 64 << 20, 0, "json", parameters, NOW),
        store=store,
        store_cache=1 << 30,
    )
    response, content = answer_report(request)
    return response, orjson.loads(content) if content else None


@pytest.mark.parametrize("store", ["file", "sqlite:///analytics.db"])
def test_store_of_one_host_has_no_others(tmp_path: Path, store: str) -> None:
    data = a_host(tmp_path, "a")
    response, _ = asked_of_reader(data, store, scope="all")
    assert (response.code, response.detail.partition(":")[0]) == ("query", "scope")
    for asked in ({}, {"scope": "host"}):
        _, report = asked_of_reader(data, store, **asked)
        assert report["total"]["events"] == 1 and "hosts" not in report
    response, _ = asked_of_reader(data, store, scope="some")
    assert response.detail == "scope: must be one of all, host"


@pytest.mark.component
def test_reader_without_the_store_says_what_needs_none(
    tmp_path: Path, address: str, server: Postgres, capfd: pytest.CaptureFixture[str]
) -> None:
    data = a_host(tmp_path, "a")
    publish_as("web-0", data, address)
    server.stop()
    try:
        address = address.replace("foldlog@", "foldlog:secret@")
        response, _ = asked_of_reader(data, address)
        assert response.code == "store_unavailable" and "scope=host" in response.detail
        said = response.detail + "".join(capfd.readouterr())
        assert "PostgreSQL store" in said and "secret" not in said
        _, report = asked_of_reader(data, address, scope="host")
        assert report["total"]["events"] == 1 and "hosts" not in report
    finally:
        server.start()


@pytest.mark.component
def test_commands_answer_over_all_hosts(tmp_path: Path, address: str, server: Postgres) -> None:
    hosts = [a_host(tmp_path / "0", "a", "b"), a_host(tmp_path / "1", "c")]
    for number, data in enumerate(hosts):
        publish_as(f"web-{number}", data, address)
    environ = environment(hosts[0].root, store=address)
    report = run_here(["report", *TODAY], environ)
    assert report.returncode == SUCCESS, report.stderr
    assert "web-0: generation 1, as of" in report.stdout and "web-1: generation 1, as of" in report.stdout
    assert "BEHIND" not in report.stdout
    exported = run_here(["export", *TODAY], environ)
    assert [orjson.loads(each)["id"] for each in exported.stdout.splitlines()] == ["a", "b", "c"]
    exported = run_here(["export", "--scope", "host", *TODAY], environ)
    assert [orjson.loads(each)["id"] for each in exported.stdout.splitlines()] == ["a", "b"]
    assert run_here(["report", "--scope", "all"], environment(hosts[0].root)).returncode == USAGE
    server.stop()
    try:
        assert run_here(["report", *TODAY], environ).returncode == TRY_AGAIN
        assert "web-0" not in run_here(["report", "--scope", "host", *TODAY], environ).stdout
    finally:
        server.start()


@pytest.mark.component
def test_server_answers_over_all_hosts(tmp_path: Path, address: str) -> None:
    other = data_directory(tmp_path / "other")
    with Server(tmp_path, store=address, fold_interval=1) as server:
        server.post([{"name": "pageview", "visitor": "visitor-1"}, {"name": "signup", "visitor": "visitor-2"}])

        def total(scope: str = "all", **asked: str) -> dict[str, int]:
            found = server.get("/admin/api/report", scope=scope, **asked)
            assert found.status == 200, found.body
            counted: dict[str, int] = found.json()["total"]
            return counted

        until(lambda: total() == {"events": 2, "visitors": 2}, server.log_tail)
        now = int(datetime.now(UTC).timestamp() * 1000)
        for number, visitor in enumerate(("visitor-1", "visitor-3")):
            sealed(other, [line(f"other-{number}", now, visitor=visitor)])
            fold(other, now)
            publish_as("other", other, address)
            # At once: no answer of an earlier ledger is kept.
            assert total() == {"events": 3 + number, "visitors": 2 + number}
        assert total("host") == {"events": 2, "visitors": 2}
        hosts = server.get("/admin/api/report").json()["hosts"]
        assert len(hosts) == 2 and not any(host["behind"] for host in hosts)
        exported = server.get("/admin/api/export").body.splitlines()
        assert len(exported) == 4
        assert server.get("/admin/api/report", scope="some").code == "query"
