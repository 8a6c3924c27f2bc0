"""P10: a full disk is refused early and recovers by itself; meanwhile folds run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.disks import fill, small_disk
from tests.builders.logs import line, sealed
from tests.builders.server import Answer, Server, failing
from tests.builders.waiting import until
from tests.builders.wire import (
    JSON,
    VALID,
    keyed,
    page,
    wire,
)

# The reserve, how many bytes another program leaves free, the code of the refusal, and
# the check that fails.
DISKS = {
    "less than the reserve": ("4 MiB", 2 << 20, "disk_reserve", "disk"),
    "not a byte": ("0", 0, "disk_full", "writable"),
}


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
@pytest.mark.parametrize(("reserve", "left", "code", "check"), DISKS.values(), ids=DISKS)
def test_full_disk_is_507_and_everything_recovers_without_a_restart(
    tmp_path: Path, reserve: str, left: int, code: str, check: str, record_property: Callable[[str, object], None]
) -> None:
    with small_disk(tmp_path / "data", "16m") as disk, Server(tmp_path, disk_reserve=reserve) as server:
        sent: list[Answer] = []

        def post() -> Answer:
            sent.append(
                server.post(
                    [{"name": "pageview", "id": f"event-{len(sent):04d}", "url": "https://example.com/" + "x" * 900}]
                )
            )
            return sent[-1]

        assert post().status == 200
        ballast = disk / "ballast"
        fill(ballast, left)
        until(lambda: post().status != 200)
        refused = post()
        assert (refused.status, refused.code) == (507, code)
        assert int(refused.headers["Retry-After"]) > 0
        assert check in failing(server)
        assert server.request("GET", "/healthz").status == 200
        assert server.request("GET", "/metrics").status == 200
        assert server.get("/admin/api/status").status == 200

        ballast.unlink()
        recovered_s = until(lambda: post().status == 200)
        record_property("disk_recovered_s", round(recovered_s, 2))
        until(lambda: failing(server) == set())
        assert server.stderr().count('"worker_listening"') == 1
        stored = {f"event-{number:04d}" for number, answer in enumerate(sent) if answer.status == 200}
        assert {event["id"] for event in server.lines()} == stored
        server.fold()
        assert server.get("/admin/api/status").json()["balance"]["counted"] == len(stored)


@pytest.mark.long
def test_nearly_full_disk_is_507_with_retry_after_and_stores_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, disk_reserve="1000000 GiB") as server:
        for sent in (page(), keyed()):
            answer = server.exchange(sent)
            assert (answer.status, answer.code) == (507, "disk_reserve")
            assert int(answer.headers["Retry-After"]) > 0
        assert server.lines() == []
        assert server.exchange(wire(JSON, body=VALID)).status == 403
        assert server.get("/admin/api/status").status == 200
        sealed(server.data, [line("event-1")], "import")
        assert server.fold() == 1, "it still folds"
