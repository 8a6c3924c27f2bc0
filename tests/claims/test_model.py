"""P7 over hosts, in the model: the protocol holds whatever is interleaved, and each
wrong protocol loses an id, counts one twice, or counts one that was erased.

The model is the law for the code that will claim and publish: the same interleavings
are to be played against a real database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from tests.claims.interleavings import come_to_rest, run
from tests.claims.mutants import MUTANTS, Mutant
from tests.claims.rules import Rules
from tests.claims.scenarios import SCENARIOS, Scenario
from tests.claims.truth import Violation, check_at_rest
from tests.claims.world import World

FOCUSES: tuple[tuple[str, ...], ...] = (
    (),
    ("restore_store",),
    ("restore_host", "restore_store"),
    ("erase", "rebuild"),
    ("pass_day", "prune"),
    ("lose_disk", "restore_store"),
    ("retire", "erase", "send_again"),
)
# About 0.7 s each.
BATCH = 100
SHORT = 4
LONG = 20
# Seeds that are tried from the one that stands beside a mutant: a change of the model
# changes what a seed plays.
TRIED = 200


def run_batch(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        run(Rules(), seed, FOCUSES[seed % len(FOCUSES)])


@pytest.mark.parametrize("batch", range(SHORT))
def test_id_counts_once_over_hosts(batch: int) -> None:
    run_batch(batch)


@pytest.mark.long
@pytest.mark.parametrize("batch", range(SHORT, LONG))
def test_id_counts_once_over_hosts_at_length(batch: int) -> None:
    run_batch(batch)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_wrong_protocol_is_caught_by_its_seed(mutant: Mutant, record_property: Callable[[str, object], None]) -> None:
    for seed in range(mutant.seed, mutant.seed + TRIED):
        harm = harm_of(mutant, seed)
        if harm is not None:
            record_property("caught by", f"seed {seed}: {harm}")
            run(Rules(), seed, mutant.focus)
            return
    pytest.fail(f"no seed from {mutant.seed} to {mutant.seed + TRIED} catches it: {mutant.name}")


def test_each_rule_decides_somewhere() -> None:
    """A rule without which nothing goes wrong is none."""
    wrong = [mutant.rules for mutant in MUTANTS] + [scenario.without for scenario in SCENARIOS]
    assert {field.name for field in fields(Rules)} == {
        field.name for rules in wrong for field in fields(Rules) if not getattr(rules, field.name)
    }


def harm_of(mutant: Mutant, seed: int) -> str | None:
    """What is lost or counts wrongly, if anything."""
    try:
        run(mutant.rules, seed, mutant.focus, harm_only=True)
    except Violation as found:
        return str(found)
    return None


def play(scenario: Scenario, rules: Rules) -> None:
    world = World(rules, seed=0)
    scenario.play(world)
    come_to_rest(world, harm_only=True)
    check_at_rest(world)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_scenario_holds_with_its_rule(scenario: Scenario) -> None:
    play(scenario, Rules())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_scenario_fails_without_its_rule(scenario: Scenario) -> None:
    with pytest.raises(Violation, match=r"counts twice|lost|erased, and counts"):
        play(scenario, scenario.without)
