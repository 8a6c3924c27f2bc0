"""GET /admin/api/export: every event once, in each format; damage and failures."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from shared.timestamps import now_ms
from tests.builders.logs import data_directory, line, sealed
from tests.builders.processes import children
from tests.builders.server import ADMIN_TOKEN, Answer, Server
from tests.builders.visits import D1, D2, SITE, SPAN, send_visits
from tests.builders.waiting import until
from tests.builders.worker import Worker

EXPORT = "/admin/api/export"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("exports"), sites=SITE) as running:
        send_visits(running)
        yield running


BAD: dict[str, tuple[str, str]] = {
    "from a word": ("from=yesterday", "from"),
    "from after to": ("from=2026-02-02&to=2026-02-01", "from"),
    "to a word": ("to=x", "to"),
    "tz a path": ("tz=../../etc/passwd", "tz"),
    "tz not UTF-8": ("tz=%ff", "tz"),
    "an unknown parameter": ("form=2026-02-02", "form"),
    "an unknown format": ("format=xlsx", "format"),
    "a parameter twice": ("tz=UTC&tz=UTC", "twice"),
}


BAD_EXPORT: dict[str, tuple[str, str]] = BAD | {"a filter": ("filter=path%3D%3D/", "filter"), "by": ("by=path", "by")}


@pytest.mark.parametrize(("query", "parameter"), BAD_EXPORT.values(), ids=BAD_EXPORT)
def test_bad_export_is_400_and_names_the_parameter(worker: Worker, query: str, parameter: str) -> None:
    answer = worker.get(f"/admin/api/export?{query}")
    assert (answer.status, answer.code) == (400, "query")
    assert parameter in answer.json()["detail"]


def exported(worker: Worker, form: str, **asked: str) -> Answer:
    answer = worker.get(EXPORT, **(SPAN | asked), format=form)
    assert answer.status == 200
    assert answer.headers["Content-Disposition"] == f'attachment; filename="foldlog.{form}"'
    return answer


IDS = [f"event-{number:02}" for number in range(1, 10)]


def test_export_as_ndjson_has_every_event_once_in_order(worker: Worker) -> None:
    answer = exported(worker, "ndjson")
    assert answer.headers.get_content_type() == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert [row["id"] for row in rows] == IDS
    order = rows[3]
    assert (order["event"], order["visitor"], order["value"], order["props"]) == ("order", "bob", 9.5, {"plan": "pro"})
    assert (order["time"], order["path"], order["site"]) == (f"{D1}T12:30:00.000Z", "/pricing", SITE)
    assert (order["browser"], order["bot"], rows[8]["bot"]) == ("Firefox", False, True)
    assert "referrer" not in order
    assert rows[0]["referrer"] == "search.example"


def test_export_as_csv_has_the_same_events(worker: Worker) -> None:
    answer = exported(worker, "csv")
    assert answer.headers.get_content_type() == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8"), newline="")))
    assert [row["id"] for row in rows] == IDS
    assert (rows[3]["event"], rows[3]["value"], rows[3]["props"]) == ("order", "9.5", '{"plan":"pro"}')
    assert rows[7]["event"] == "'=1+1"
    assert rows[2]["referrer"] == ""


def test_export_as_parquet_has_the_same_events(worker: Worker, tmp_path: Path) -> None:
    answer = exported(worker, "parquet")
    path = tmp_path / "foldlog.parquet"
    path.write_bytes(answer.body)
    with duckdb.connect() as database:
        rows = database.execute(f"SELECT id, event, value, props, time FROM '{path}' ORDER BY time").fetchall()
    assert [row[0] for row in rows] == IDS
    assert rows[3] == ("event-04", "order", 9.5, '{"plan":"pro"}', datetime(D1.year, D1.month, D1.day, 12, 30))  # noqa: DTZ001
    assert rows[7][1] == "=1+1"


def test_export_of_no_events_as_parquet_is_a_table_without_rows(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "foldlog.parquet"
    path.write_bytes(exported(worker, "parquet", **{"from": "2020-01-01", "to": "2020-01-02"}).body)
    with duckdb.connect() as database:
        assert database.execute(f"SELECT count(*) FROM '{path}'").fetchone() == (0,)


# Queries of this test alone, because earlier ones are answered from the cache.
@pytest.mark.parametrize(
    ("question", "damage"),
    [
        (f"{EXPORT}?from={D1}", "gone"),
        (f"{EXPORT}?from={D1}", "flipped"),
        (f"/admin/api/report?from={D1}&limit=77", "gone"),
        (f"/admin/api/report?from={D1}&limit=78", "flipped"),
    ],
)
def test_damaged_part_gives_a_problem_and_never_a_wrong_number(worker: Worker, question: str, damage: str) -> None:
    (part,) = (worker.data.archive / str(D1)).iterdir()
    away = part.rename(part.with_suffix(".away"))
    try:
        if damage == "flipped":
            content = bytearray(away.read_bytes())
            content[len(content) // 2] ^= 1
            part.write_bytes(content)
        answer = worker.get(question)
    finally:
        away.rename(part)
    assert (answer.status, answer.code) == (503, "part")
    assert "foldlog" in answer.json()["detail"]
    assert worker.get(question).status == 200


@pytest.mark.long
def test_export_that_fails_midway_is_recognisably_incomplete(tmp_path: Path) -> None:
    """The reader is killed while its client does not read; no temporary file with
    events is left.
    """
    data = data_directory(tmp_path / "data")
    sealed(data, [line(f"event-{number}", now_ms(), props={"x": "y" * 1000}) for number in range(20_000)])
    with Server(tmp_path) as server:
        server.fold()
        headers = f"Host: {SITE}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(f"GET {EXPORT} HTTP/1.1\r\n{headers}\r\n".encode())
            found = connection.recv(1000)
            (export,) = children(server.child("ingest-0"))
            assert list(data.report_spill.iterdir())
            os.kill(export, signal.SIGKILL)
            with suppress(ConnectionResetError):
                while block := connection.recv(65536):
                    found += block
        until(lambda: not list(data.report_spill.iterdir()))
    assert found.count(b"HTTP/1.1 200 ") == 1, found[:1000]
    assert not found.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
def test_export_puts_nothing_into_the_directory_for_temporary_files(
    worker: Worker, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may have no /tmp, or one in memory. Choosing it would make a file
    there, and change the time of the directory.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = tmp_path.stat().st_mtime_ns
    assert exported(worker, form).status == 200
    assert tmp_path.stat().st_mtime_ns == before


def test_export_has_only_the_requested_span(worker: Worker) -> None:
    rows = exported(worker, "ndjson", **{"from": f"{D2}T08:00:00Z", "to": f"{D2}T08:15:00Z"}).body.splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["event-05", "event-06"]
