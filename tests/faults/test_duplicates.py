"""However often an id comes, it counts once (P7): at once on two workers, across folds,
after kills and lost answers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.duplicates import CLIENTS, REPEATS, Load, plan, run
from tests.faults.outcome import Outcome

pytestmark = [pytest.mark.crash, pytest.mark.long]

SMALL = Load(sends=5_000, seed=7, kills=2, sizes=(1, 10, 40), pause_s=0.03)


@pytest.mark.timeout(180)
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
