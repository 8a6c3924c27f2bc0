"""P7: an event id counts once, however often it is sent again: in one batch, after a
fold, on two workers at once, after kills and lost answers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.server import Server
from tests.faults.duplicates import CLIENTS, REPEATS, Load, plan, run
from tests.faults.outcome import Outcome

SMALL = Load(sends=5_000, seed=7, kills=2, sizes=(1, 10, 40), pause_s=0.03)


@pytest.mark.crash
@pytest.mark.long
def test_every_id_of_a_fleet_that_repeats_itself_counts_once(tmp_path: Path) -> None:
    outcome = Outcome("", "", "")
    covered = run(SMALL, tmp_path, outcome)
    assert outcome.failures == []
    assert outcome.acknowledged > SMALL.sends / 2
    assert covered.kills == SMALL.kills
    # A run in which nothing was repeated would prove nothing.
    assert covered.on_both_workers > 0
    assert covered.in_several_passes > 0
    assert covered.answers_lost > 0


def test_a_fleet_plans_what_it_says() -> None:
    for client in range(CLIENTS):
        ids = [id_ for batch in plan(SMALL, client) for id_ in batch.ids]
        assert ids == [id_ for batch in plan(SMALL, client) for id_ in batch.ids]
        assert len(ids) == SMALL.sends // CLIENTS
        new = {id_ for id_ in ids if id_.startswith(f"dup{client}-")}
        assert 1 - REPEATS - 0.1 < len(new) / len(ids) < 1 - REPEATS + 0.1


def test_id_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    """In one batch, after a fold, and with another payload."""
    with Server(tmp_path) as server:
        again = {"name": "again", "id": "sent-again-1"}
        assert server.post([again, again]).json() == {"accepted": 2, "rejected": []}
        server.fold()
        assert server.post([again]).json() == {"accepted": 1, "rejected": []}
        assert server.post([again | {"name": "another"}]).json() == {"accepted": 1, "rejected": []}
        server.fold()
        balance = server.get("/admin/api/status").json()["balance"]
        found = {name: balance[name] for name in ("accepted", "counted", "duplicates", "conflicts", "difference")}
        assert found == {"accepted": 4, "counted": 1, "duplicates": 3, "conflicts": 1, "difference": 0}
        assert server.get("/admin/api/report", event="again").json()["total"]["events"] == 1
        assert server.get("/admin/api/report", event="another").json()["total"]["events"] == 0
