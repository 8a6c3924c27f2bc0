"""The truth that hosts and store are held against: no id is lost, none counts twice.

What holds after every step, whatever was restored, lost or delayed:

    A1  no id counts in what two instances have published, ids under an open order of
        erasure left out (reports leave them out)
    A2  no id is claimed by two instances
    A3  what is published is claimed by its instance, unless the claim was pruned

What holds at rest, that is once nothing more arrives and every host that is there has
fetched, folded, claimed and published, restored hosts having taken over and hosts that
are gone having been retired:

    R1  an acknowledged id counts exactly once over all instances, whichever copy it is
    R2  an erased id does not count, also if a copy came after the order
    R3  no order of erasure is open
    R4  within a host the copy counts that was received first

Not held against the protocol: an id of which no copy was left when a disk or the store
was lost counts at most once; so does one whose erasure only that disk or that store
knew of. All copies of an id are at most three days apart, and none is older than three
days when it is received.
"""

from __future__ import annotations

from tests.claims.store import Store
from tests.claims.world import World


class Violation(Exception):
    """What may not be, by the letters above, and the ids."""

    def __init__(self, rule: str, ids: object) -> None:
        super().__init__(f"{rule}: {ids}")
        self.rule = rule


def check_always(world: World, *, harm_only: bool = False) -> None:
    """A1 to A3."""
    store = world.store
    seen: dict[int, str] = {}
    for instance, state in store.published.items():
        for id_ in state.counted.keys() - store.open_orders():
            if seen.setdefault(id_, instance) != instance:
                raise Violation("A1 counts twice", id_)
    if not harm_only:
        _check_claims(store)


def _check_claims(store: Store) -> None:
    owner: dict[int, str] = {}
    for block in store.blocks:
        for id_, _ in block.pairs:
            if owner.setdefault(id_, block.instance) != block.instance:
                raise Violation("A2 claimed twice", id_)
    for instance, state in store.published.items():
        claimed = store.claimed_by(instance)
        for id_, copy in state.counted.items():
            if copy.day >= store.pruned_before and (id_, copy.day) not in claimed:
                raise Violation("A3 published without claim", (instance, id_))


def check_at_rest(world: World) -> None:
    """R1 to R4."""
    counts = dict.fromkeys(world.sent, 0)
    for state in world.store.published.values():
        for id_ in state.counted:
            counts[id_] += 1
    _check_counts(world, counts)
    if world.store.open_orders():
        raise Violation("R3 open orders", sorted(world.store.open_orders()))
    for host in world.hosts.values():
        for line in host.log:
            kept = host.state.counted.get(line.id_)
            if kept is not None and line.copy.received < kept.received:
                raise Violation("R4 a later copy counts", line.id_)


def _check_counts(world: World, counts: dict[int, int]) -> None:
    erased = world.ordered & world.known_erased()
    may_be_gone = world.excused | world.ordered
    for id_, times in counts.items():
        if times > 1:
            raise Violation("R1 counts twice", id_)
        if times == 0 and id_ not in may_be_gone:
            raise Violation("R1 lost", id_)
        if times and id_ in erased - world.excused:
            raise Violation("R2 erased, and counts", id_)
