"""P8: accepted = counted + duplicates + erased + quarantined + set aside + not yet
folded, at every moment, and the status shows it.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.builders.command import run_here
from tests.builders.server import Server


def test_status_balances_before_and_after_a_fold(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        before = server.get("/admin/api/status").json()["balance"]
        server.post([{"name": "balance", "id": "balance-01"}, {"name": "balance", "id": "balance-01"}])
        waiting = server.get("/admin/api/status").json()["balance"]
        assert waiting == before | {"accepted": 2, "not_yet_folded": 2}
        assert re.search(r"difference +0", run_here(["status"], server.environ).stdout)
        server.fold()
        status = server.get("/admin/api/status").json()
        assert status["balance"] == before | {"accepted": 2, "counted": 1, "duplicates": 1}
        assert status["balance"]["difference"] == 0
        assert set(status) >= {
            "segments",
            "generation",
            "as_of",
            "lag_s",
            "last_fold",
            "last_retention",
            "disk",
            "days",
        }
