"""Short stories in which one rule of the protocol decides: with it every id counts
once, without it one is lost or counts twice. Random runs found most of them, long.

Each takes a world of the hosts a, b and c, and ends where nothing more happens; then
everybody comes to rest. X is the one id that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.claims.claiming import begin_claim
from tests.claims.interleavings import catch_up
from tests.claims.rules import Rules
from tests.claims.truth import check_always
from tests.claims.world import World

X = 1


def claim(world: World, instance: str) -> None:
    """Fold and claim, and not publish."""
    host = world.hosts[instance]
    host.fold(len(host.log))
    begin_claim(host, world.store)
    world.commit(host)
    host.yield_generation()


def publish(world: World, *instances: str) -> None:
    for instance in instances:
        catch_up(world, world.hosts[instance])
        check_always(world, harm_only=True)


def deliver(world: World, instance: str, id_: int = X, day: int | None = None) -> None:
    world.deliver(world.hosts[instance], id_, world.today if day is None else day)


def restored_after_claiming(world: World) -> None:
    """b claims X and is restored to a time before it had X: its ledger row is where b
    left it, so that nothing tells b of the claim, and a has yielded to it.
    """
    deliver(world, "a")
    world.back_up_all()
    deliver(world, "b")
    claim(world, "b")
    claim(world, "a")
    world.restore_host(world.hosts["b"])


def store_restored_after_claiming(world: World) -> None:
    """a claims X, the store loses the claim, b claims X: a believes what it noted."""
    publish(world, "a", "b", "c")
    world.back_up_all()
    deliver(world, "a")
    deliver(world, "b")
    claim(world, "a")
    world.restore_store(world.hosts["a"])
    publish(world, "b", "a")


def retired_with_what_counts(world: World) -> None:
    """a has published X and is retired; b yielded X to it."""
    deliver(world, "a")
    deliver(world, "b")
    publish(world, "a", "b")
    world.retire(world.hosts["a"])
    publish(world, "b")


def retired_before_publishing(world: World) -> None:
    """a has claimed X and not published it when it is gone; b yielded X to it."""
    deliver(world, "a")
    deliver(world, "b")
    claim(world, "a")
    publish(world, "b")
    world.retire(world.hosts["a"])


def retired_between_publishes(world: World) -> None:
    """a has published something, and claimed X since, when it is gone."""
    deliver(world, "a", 2)
    publish(world, "a")
    retired_before_publishing(world)


def number_used_again(world: World) -> None:
    """c has fetched up to a number that the store, restored, gives to another block."""
    world.back_up_all()
    deliver(world, "a", 2)
    claim(world, "a")
    deliver(world, "c")
    world.hosts["c"].fetch(world.store)
    world.restore_store(world.hosts["a"])
    deliver(world, "b")
    publish(world, "b", "c")


def released_and_restored(world: World) -> None:
    """c sees that a claim of a was released; the store is restored and has it again."""
    deliver(world, "a")
    deliver(world, "b", 2)
    publish(world, "a", "b", "c")
    world.back_up_all()
    world.rebuild(world.hosts["a"])
    world.hosts["c"].fetch(world.store)
    world.restore_store(world.hosts["a"])
    deliver(world, "c")
    publish(world, "c", "a")


def pruned_before_claimed_again(world: World) -> None:
    """a yielded X to b; long after, b is rebuilt and claims X anew, on a day that no
    host waits for any more, before a has looked.
    """
    deliver(world, "b")
    deliver(world, "a")
    publish(world, "b", "a", "c")
    world.today += 10
    publish(world, "a", "b", "c")
    world.rebuild(world.hosts["b"])
    publish(world, "b")
    world.today += 1
    world.prune(world.hosts["b"])
    publish(world, "a")


def order_lost_with_the_store(world: World) -> None:
    """a has erased its copy of X, which b counts, when the store forgets the order."""
    deliver(world, "b")
    deliver(world, "a")
    publish(world, "b", "a", "c")
    world.back_up_all()
    world.order(X)
    world.hosts["a"].fetch(world.store)
    world.restore_store(world.hosts["a"])


def erased_at_retired(world: World) -> None:
    """b has published X and is retired; then a visitor is erased."""
    deliver(world, "b")
    deliver(world, "a")
    publish(world, "b", "a", "c")
    world.retire(world.hosts["b"])
    world.order(X)


def erased_and_retired(world: World) -> None:
    """X was erased on a, which is retired; a late copy comes to b."""
    deliver(world, "a")
    publish(world, "a", "b", "c")
    world.order(X)
    publish(world, "a", "b", "c")
    world.retire(world.hosts["a"])
    deliver(world, "b")


def restored_with_new_lines(world: World) -> None:
    """a is restored, and takes events under numbers that are published already."""
    world.back_up_all()
    deliver(world, "a", 2)
    deliver(world, "a", 3)
    publish(world, "a")
    world.restore_host(world.hosts["a"])
    deliver(world, "a")


def restored_with_what_the_store_lost(world: World) -> None:
    """X is in the archive of a only: a took over, then the store lost it. Restored to
    that, a has to take over once more, from a store that has nothing of it.
    """
    world.back_up_all()
    empty = world.store_backup
    deliver(world, "a")
    publish(world, "a")
    world.lose_disk(world.hosts["a"])
    world.back_up_all()
    world.store_backup = empty
    world.restore_store(world.hosts["a"])
    begin_claim(world.hosts["a"], world.store)
    world.commit(world.hosts["a"])
    world.restore_host(world.hosts["a"])


@dataclass(frozen=True)
class Scenario:
    """`without`: the rules but the one that decides."""

    play: Callable[[World], None]
    without: Rules

    @property
    def name(self) -> str:
        return self.play.__name__


SCENARIOS = (
    Scenario(restored_after_claiming, Rules(notes_claims=False)),
    Scenario(store_restored_after_claiming, Rules(notes_claims=False)),
    Scenario(retired_with_what_counts, Rules(drop_keeps_published=False)),
    Scenario(retired_before_publishing, Rules(drop_releases=False)),
    Scenario(retired_between_publishes, Rules(notes_published_with_publish=False)),
    Scenario(number_used_again, Rules(checks_cursor=False)),
    Scenario(released_and_restored, Rules(fetches_anew_after_epoch=False)),
    Scenario(pruned_before_claimed_again, Rules(drop_resets_horizons=False)),
    Scenario(order_lost_with_the_store, Rules(repeats_orders=False)),
    Scenario(erased_at_retired, Rules(erases_retired=False)),
    Scenario(erased_and_retired, Rules(drop_keeps_erased=False)),
    Scenario(restored_with_new_lines, Rules(takeover_renumbers=False)),
    Scenario(restored_with_what_the_store_lost, Rules(takeover_keeps_archive=False)),
)
