"""Random interleavings of three hosts and a store, each made from its seed.

An interleaving ends at rest: everybody is back and has done what is left to do. What
has to hold after each step, and what at rest, is in tests/claims/truth.py.
"""

from __future__ import annotations

from tests.claims import operators
from tests.claims.claiming import begin_claim, begin_publish
from tests.claims.host import Host
from tests.claims.rules import Rules
from tests.claims.truth import check_always, check_at_rest
from tests.claims.world import INSTANCES, World

STEPS = 160
ROUNDS_TO_REST = 8

# What may happen, and how often. The host is drawn first.
ACTIONS = (
    (World.send, 24),
    (World.send_again, 10),
    (World.fold, 16),
    (World.fetch, 14),
    (World.advance, 60),
    (World.crash, 2),
    (World.pass_day, 5),
    (World.prune, 3),
    (World.take_over, 4),
    (World.erase, 2),
    (World.go_away, 0.7),
    (World.restore_host, 1),
    (World.restore_store, 0.8),
    (World.lose_disk, 0.6),
    (World.rebuild, 0.8),
    (World.retire, 0.4),
)


OFTEN = 10
EMPHASIS = (0, 0.5, 1, 4)
FOCUSED = 12


def run(rules: Rules, seed: int, focus: tuple[str, ...] = (), *, harm_only: bool = False) -> World:
    """Play one interleaving to its rest; `focus` names actions that are frequent in it.
    Raises Violation; with `harm_only` not for A2
    and A3, which alone harm no count.
    """
    world = World(rules, seed)
    actions = [action for action, _ in ACTIONS]
    # Each run has its own share of disasters, so that also rare pairs of them meet.
    weights = [weight * world.pick.choice(EMPHASIS) if weight < OFTEN else weight for _, weight in ACTIONS]
    weights = [
        max(weight, FOCUSED) if action.__name__ in focus else weight
        for action, weight in zip(actions, weights, strict=True)
    ]
    for _ in range(STEPS):
        host = world.pick.choice(world.present())
        action = world.pick.choices(actions, weights)[0]
        world.history.append(f"{action.__name__} {host.instance}")
        action(world, host)
        check_always(world, harm_only=harm_only)
    come_to_rest(world, harm_only=harm_only)
    check_at_rest(world)
    return world


def come_to_rest(world: World, *, harm_only: bool) -> None:
    """Everybody is back, and does what is left to do."""
    for instance in set(INSTANCES) - set(world.hosts):
        # The store may have been restored to a time before.
        operators.retire(instance, world.store, world.names)
    for _ in range(ROUNDS_TO_REST):
        for host in world.hosts.values():
            catch_up(world, host)
            check_always(world, harm_only=harm_only)


def catch_up(world: World, host: Host) -> None:
    """All that a host has to do: fetch, fold, claim, yield, publish."""
    host.crash()
    world.take_over(host)
    host.fetch(world.store)
    host.fold(len(host.log))
    begin_claim(host, world.store)
    world.commit(host)
    host.yield_generation()
    begin_publish(host, world.store, world.today)
    world.commit(host)
