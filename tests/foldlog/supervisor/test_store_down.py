"""A store that is down or refuses a host, with real processes: metrics, readiness,
status and doctor say so, no host looks dead, and it ends when the store is back.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.builders.postgres import Server as Postgres
from tests.builders.said_of_store import check, doctor, metric, send_and_fold, status
from tests.builders.server import Server, run_foldlog
from tests.builders.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.long]


def test_store_that_is_down_is_seen_everywhere_until_it_is_back(tmp_path: Path, postgres: Postgres) -> None:
    address = postgres.database()
    with Server(tmp_path, fold_interval=1) as server:
        server.stop()
        server.environ |= {"DATABASE_URL": address}
        server.start()
        assert '"store_from_database_url"' in server.stderr()
        first = send_and_fold(server, "before-it-is-down")
        until(lambda: metric(server, "published_generation") == first)
        assert metric(server, "lag_seconds") == 0 and check(server) is None

        postgres.stop()
        second = send_and_fold(server, "while-it-is-down")
        until(lambda: metric(server, "publishes_failed") > 0 and check(server) is not None)
        found = status(server)
        assert (found["store"]["generation"], found["generation"]) == (first, second)
        assert found["store"]["lag_s"] > 3 and found["store"]["failing_since"]
        assert str(check(server)).startswith("degraded: the store has been behind for")
        assert any("the store has been behind" in text for text in found["warnings"])
        assert metric(server, "lag_seconds") > 3 and metric(server, "refused") == 0
        assert "to publish failed" in doctor(server)
        screen = run_foldlog(["status"], server.environ).stdout
        assert re.search(rf"^store +generation {first} of {second}, .*failed$", screen, re.MULTILINE)

        postgres.start()
        assert run_foldlog(["store", "publish"], server.environ).returncode == 0
        until(lambda: metric(server, "lag_seconds") == 0 and metric(server, "publishes_failed") == 0)
        assert check(server) is None and status(server)["store"]["error"] is None
        assert f"holds generation {status(server)['generation']}" in doctor(server)


def test_copy_of_a_host_is_refused_and_says_what_to_type(tmp_path: Path, postgres: Postgres) -> None:
    address = postgres.database()
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    with Server(original, store=address, fold_interval=1) as server:
        first = send_and_fold(server, "before-the-copy")
        until(lambda: metric(server, "published_generation") == first)
        server.stop()
        shutil.copytree(original / "data", copy / "data")
        server.start()
        second = send_and_fold(server, "after-the-copy")
        until(lambda: metric(server, "published_generation") == second)
    with Server(copy, store=address, fold_interval=1) as server:
        send_and_fold(server, "event-of-the-copy")
        until(lambda: metric(server, "refused") == 1)
        assert "takes nothing of this host" in str(check(server))
        assert status(server)["store"]["refused"] is True
        found = re.sub(r"\s+", " ", doctor(server))
        assert "WRONG store" in found and "store restore" in found and "new-instance" in found
