"""P2: only complete, CRC-checked lines are folded; a torn tail is quarantined."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.builders.server import Server

TORN = b'{"v":1,"id":"torn-0001","name":"pageview","time":"2026-11-'


def test_torn_tail_of_a_killed_worker_is_quarantined_and_costs_no_whole_line(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.post([{"name": "whole", "id": f"whole-{n:04d}"} for n in range(5)]).status == 200
        server.kill()
        with server.data.active("0").open("ab") as file:  # as a power cut leaves a write
            file.write(TORN)
        server.start()
        assert server.post([{"name": "whole", "id": "whole-0005"}]).status == 200
        server.fold()
        assert server.get("/admin/api/report", event="whole").json()["total"]["events"] == 6
        balance = server.get("/admin/api/status").json()["balance"]
        assert (balance["counted"], balance["quarantined"], balance["difference"]) == (6, 1, 0)
        (record,) = [
            json.loads(line) for path in server.data.quarantine.iterdir() for line in path.read_bytes().splitlines()
        ]
        assert base64.b64decode(record["base64"]) == TORN and record["reason"]
        assert not any(TORN in path.read_bytes() for path in server.data.log.iterdir())
