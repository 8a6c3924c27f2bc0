"""Each attack at small size beside its control: nothing of a neighbour is lost, no
client gets a 5xx, passes end, and what the attack costs is a bounded multiple of its
control.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.checkout import THIS
from tests.faults.hostile.__main__ import ATTACKS, try_out, write
from tests.faults.hostile.cost import BOUNDS, Attack, Cost, Scene, wrong_with
from tests.faults.hostile.table import HEAD, rows

# Of attacks that take ten seconds and more, `make check` tries one or two of a kind.
WHOLE = {
    *("colliding-paths", "colliding-visitors", "fat-events", "agents", "amplification", "costly-texts"),  # of passes
    *("connections", "pixel-flood", "script-flood"),  # of the door
    *("left-exports", "slow-export", "many-hours", "live-often"),  # of readers
    *("many-goals", "one-visitor", "many-ways"),  # of the kinds of report
}
TRIED = [
    pytest.param(attack, id=attack.name, marks=[pytest.mark.whole] if attack.name in WHOLE else [])
    for attack in ATTACKS
]


def test_attacks_that_are_left_to_the_whole_exist() -> None:
    assert {attack.name for attack in ATTACKS} >= WHOLE


@pytest.mark.long
@pytest.mark.parametrize("attack", TRIED)
def test_attack_is_held(attack: Attack, tmp_path: Path) -> None:
    cost, control, wrong = try_out(attack, Scene(THIS, tmp_path, quick=True))
    assert wrong == [], (cost, control)


# Name; what it cost, beside a control of 1 CPU second and 50 ms; whether it was held.
JUDGED = [
    ("as much as the control", Cost(product_cpu_s=1.0, quiet_ms=20, during_ms=50), True),
    ("twice as much", Cost(product_cpu_s=2.0, quiet_ms=20, during_ms=100), True),
    ("thirty times the CPU", Cost(product_cpu_s=30.0, quiet_ms=20, during_ms=50), False),
    ("a p95 of seconds", Cost(product_cpu_s=1.0, quiet_ms=20, during_ms=3_000), False),
    ("a neighbour's event was lost", Cost(product_cpu_s=1.0, lost=1), False),
    ("a pass did not end", Cost(product_cpu_s=1.0, broken=["a pass did not end"]), False),
]


@pytest.mark.parametrize(("cost", "is_held"), [row[1:] for row in JUDGED], ids=[row[0] for row in JUDGED])
def test_attack_that_costs_too_much_is_not_held(cost: Cost, is_held: bool) -> None:
    control = Cost(product_cpu_s=1.0, quiet_ms=20, during_ms=50)
    assert (wrong_with(cost, control, BOUNDS) == []) is is_held


def test_table_of_a_page_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before\n\n{HEAD}\n| old |\n\nAfter\n")
    lines = [HEAD, *rows(ATTACKS[0], Cost(), Cost(), [])]
    write(page, lines)
    assert page.read_text() == "Before\n\n" + "\n".join(lines) + "\n\nAfter\n"
