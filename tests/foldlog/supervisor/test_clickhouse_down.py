"""A ClickHouse of which a shard is down, or that refuses a host, with real processes:
metrics, readiness, status and doctor say so, no host looks dead, and it ends when the
shard is back. No text of an event and no password is in the log.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import clickhouse
from tests.builders.said_of_store import check, doctor, metric, send_and_fold, status
from tests.builders.server import Server, run_foldlog
from tests.builders.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def shards() -> Iterator[clickhouse.Shards]:
    with clickhouse.running(2) as found:
        yield found


def test_shard_that_is_down_is_seen_everywhere_until_it_is_back(tmp_path: Path, shards: clickhouse.Shards) -> None:
    shard = shards.servers[1]
    with Server(tmp_path, store=shards.database(), fold_interval=1) as server:
        first = send_and_fold(server, "before-it-is-down")
        until(lambda: metric(server, "published_generation") == first)
        assert metric(server, "lag_seconds") == 0 and check(server) is None

        shard.kill()
        second = send_and_fold(server, "while-it-is-down")
        until(lambda: metric(server, "publishes_failed") > 0 and check(server) is not None)
        found = status(server)
        assert (found["store"]["generation"], found["generation"]) == (first, second)
        assert found["store"]["lag_s"] > 3 and found["store"]["failing_since"]
        assert f"the ClickHouse server 127.0.0.1:{shard.http} could not be read" in found["store"]["error"]
        assert str(check(server)).startswith("degraded: the store has been behind for")
        assert metric(server, "lag_seconds") > 3 and metric(server, "refused") == 0
        assert "to publish failed" in doctor(server)
        screen = run_foldlog(["status"], server.environ).stdout
        assert re.search(rf"^store +generation {first} of {second}, .*failed$", screen, re.MULTILINE)

        shard.start()
        assert run_foldlog(["store", "publish"], server.environ).returncode == 0
        until(lambda: metric(server, "lag_seconds") == 0 and metric(server, "publishes_failed") == 0)
        assert check(server) is None and status(server)["store"]["error"] is None
        assert f"holds generation {status(server)['generation']}" in doctor(server)
        assert "while-it-is-down" not in server.stderr()


def test_copy_of_a_host_is_refused_and_says_what_to_type(tmp_path: Path, shards: clickhouse.Shards) -> None:
    address, original, copy = shards.database(), tmp_path / "original", tmp_path / "copy"
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
        assert "WRONG store" in found and "new-instance" in found, found


def test_wrong_password_is_refused_and_is_in_no_message(tmp_path: Path, shards: clickhouse.Shards) -> None:
    address = shards.database().replace("://", "://default:password-that-is-wrong@")
    with Server(tmp_path, store=address, fold_interval=1) as server:
        send_and_fold(server, "event-that-waits")
        until(lambda: metric(server, "refused") == 1)
        said = server.stderr() + doctor(server) + str(status(server)) + str(check(server))
        assert "refuses: Code: 193" in said
        assert "password-that-is-wrong" not in said and "event-that-waits" not in said
