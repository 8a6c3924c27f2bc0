"""P7 over hosts, with real directories and a real PostgreSQL: whatever is interleaved,
lost, restored, rebuilt or retired, each id counts once at the end. The model plays the
same at length (tests/claims/).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.repair.verify import verify
from tests.builders.postgres import Server
from tests.builders.store_world import StoreWorld, play

pytestmark = pytest.mark.component
STEPS = 40


@pytest.mark.long
@pytest.mark.parametrize("seed", [100, *(pytest.param(seed, marks=pytest.mark.whole) for seed in (101, 102))])
def test_an_id_counts_once_once_a_host_is_absorbed(server: Server, tmp_path: Path, seed: int) -> None:
    """One is retired early on, and another absorbs it."""
    world = StoreWorld(server, tmp_path, seed)
    for name in "abc":
        world.send(name)
        world.fold(name)
        world.publish(name)
    world.retire("a")
    play(world, STEPS // 2)
    world.absorb("b")
    play(world, STEPS // 2)
    assert world.wrong() == {}, world.history
    for host in world.hosts.values():
        assert verify(host.data, host.settings, lambda _: None).findings == []


@pytest.mark.parametrize(
    ("seed", "steps"),
    [
        (0, STEPS // 2),
        *(pytest.param(seed, STEPS, marks=pytest.mark.long) for seed in (1, 4)),
        *(pytest.param(seed, STEPS, marks=[pytest.mark.long, pytest.mark.whole]) for seed in (0, 2, 3)),
    ],
)
def test_an_id_counts_once_whatever_is_interleaved(server: Server, tmp_path: Path, seed: int, steps: int) -> None:
    world = StoreWorld(server, tmp_path, seed)
    play(world, steps)
    assert world.wrong() == {}, world.history
    for host in world.hosts.values():
        assert verify(host.data, host.settings, lambda _: None).findings == []
