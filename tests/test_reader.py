"""The reading process: a report that hangs holds up neither the events nor the next report."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from tests.server import Answer, Server

EVENT = {"name": "pageview", "visitor": "visitor-1"}


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def reader_of(server: Server) -> int:
    """The only grandchild of `serve`: the reading process of its one worker."""
    (reader,) = [reader for child in children(server.running.pid) for reader in children(child)]
    return reader


def test_hanging_report_is_given_up_and_holds_up_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, report_timeout=2) as server:
        server.post([EVENT])
        server.fold()
        assert server.get("/admin/api/report").json()["total"]["events"] == 1
        stuck = reader_of(server)
        os.kill(stuck, signal.SIGSTOP)

        answers: list[Answer] = []
        report = threading.Thread(target=lambda: answers.append(server.get("/admin/api/report")))
        report.start()
        taken = 0
        while report.is_alive():
            taken += server.post([EVENT]).status == 200
        report.join()
        assert taken > 10
        assert (answers[0].status, answers[0].code) == (503, "report_timeout")
        assert answers[0].headers["Retry-After"]

        assert server.get("/admin/api/report").json()["total"]["events"] == 1
        assert reader_of(server) != stuck


def test_reading_process_has_a_lower_priority(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.get("/admin/api/report").status == 200
        assert os.getpriority(os.PRIO_PROCESS, reader_of(server)) == 10


def test_reading_process_that_dies_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.get("/admin/api/report").status == 200
        os.kill(reader_of(server), signal.SIGKILL)
        answers = [server.get("/admin/api/report").status for _ in range(2)]
        assert answers[1] == 200 and answers[0] in {200, 503}
