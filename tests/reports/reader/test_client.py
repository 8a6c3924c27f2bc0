"""The reading process: a report that hangs holds up neither the events nor the next
report.
"""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.query import Query, parse
from reports.reader.client import KEPT_BYTES, Answers
from shared.disk.durable import publish
from tests.builders.logs import data_directory
from tests.builders.processes import children
from tests.builders.server import Answer, Server

EVENT = {"name": "pageview", "visitor": "visitor-1"}


def reader_of(server: Server) -> int:
    """The only grandchild of `serve`: the reading process of its one worker."""
    (reader,) = [reader for child in children(server.running.pid) for reader in children(child)]
    return reader


@pytest.mark.long
def test_hanging_report_is_given_up_and_holds_up_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, report_timeout=2) as server:
        server.post([EVENT])
        server.fold()
        assert server.get("/admin/api/report").json()["total"]["events"] == 1
        stuck = reader_of(server)
        os.kill(stuck, signal.SIGSTOP)

        answers: list[Answer] = []
        # Not the same question: the answer to that is known.
        report = threading.Thread(target=lambda: answers.append(server.get("/admin/api/report?by=path")))
        report.start()
        taken = 0
        while report.is_alive():
            taken += server.post([EVENT]).status == 200
        report.join()
        assert taken > 10
        assert (answers[0].status, answers[0].code) == (503, "report_timeout")
        assert answers[0].headers["Retry-After"]

        assert server.get("/admin/api/report?by=path").json()["total"]["events"] == 1
        assert reader_of(server) != stuck


@pytest.mark.long
def test_same_question_is_asked_of_a_snapshot_once(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.post([EVENT])
        server.fold()
        first = server.get("/admin/api/report")
        os.kill(reader_of(server), signal.SIGKILL)
        assert server.get("/admin/api/report").body == first.body
        server.post([EVENT])
        server.fold()
        again = server.get("/admin/api/report").json()
        assert again["total"]["events"] == 2 and again["generation"] > first.json()["generation"]


def a_query(limit: int) -> Query:
    return parse({"limit": str(limit), "from": "2026-11-22"}, datetime(2026, 11, 22, tzinfo=UTC), "UTC")


def test_answers_are_of_the_published_snapshot_only(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    answers = Answers(data)
    answers.put(a_query(1), "json", b"nothing is published", answers.published())
    assert answers.get(a_query(1), "json") is None

    publish(data.snapshot, b"one")
    asked_before = answers.published()
    answers.put(a_query(1), "json", b"of one", asked_before)
    assert answers.get(a_query(1), "json") == b"of one"
    assert answers.get(a_query(1), "csv") is None and answers.get(a_query(2), "json") is None

    publish(data.snapshot, b"two")
    assert answers.get(a_query(1), "json") is None
    answers.put(a_query(1), "json", b"of one or two", asked_before)
    assert answers.get(a_query(1), "json") is None


def test_kept_answers_are_bounded(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    publish(data.snapshot, b"one")
    answers = Answers(data)
    size = KEPT_BYTES // 8
    for limit in range(1, 11):
        answers.put(a_query(limit), "json", bytes(size), answers.published())
        assert answers.get(a_query(1), "json") is not None or limit > 8
    kept = [limit for limit in range(1, 11) if answers.get(a_query(limit), "json") is not None]
    assert kept == [1, 4, 5, 6, 7, 8, 9, 10]  # the first was asked for again and again
    answers.put(a_query(11), "json", bytes(size + 1), answers.published())
    assert answers.get(a_query(11), "json") is None


@pytest.mark.long
def test_reading_process_has_a_lower_priority(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.get("/admin/api/report").status == 200
        assert os.getpriority(os.PRIO_PROCESS, reader_of(server)) == 19


@pytest.mark.long
def test_reading_process_that_dies_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.get("/admin/api/report").status == 200
        os.kill(reader_of(server), signal.SIGKILL)
        answers = [server.get("/admin/api/report").status for _ in range(2)]
        assert answers[1] == 200 and answers[0] in {200, 503}
