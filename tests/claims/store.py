"""The store of the model: what hosts share. Each method is one transaction.

A transaction of claims holds the advisory lock from its first statement to its commit,
so that no other one lies between; that is why they can be methods.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace

from compactor.claims.standing import Generation
from tests.claims.decisions import Block, Pair, Position, Winner, prunable_before
from tests.claims.rules import WINDOW, Rules


@dataclass(frozen=True)
class Copy:
    """An event as one host has it: its UTC day, and when it was received."""

    day: int
    received: int


@dataclass
class State:
    """What a local snapshot names; published, what the store has of an instance."""

    generation: int = 0
    sha: int = 0
    folded: int = 0
    """The highest number of a line that is in this generation."""
    counted: dict[int, Copy] = field(default_factory=dict)
    yielded: dict[int, tuple[Copy, Winner]] = field(default_factory=dict)
    """Events whose ids another instance counts, and who that is."""
    erased: dict[int, tuple[int, Winner | None]] = field(default_factory=dict)
    """Ids of erased events, their days, and who has claimed them if not this host."""

    @property
    def published(self) -> Generation:
        """What the ledger says of this generation once it is published."""
        return self.generation, self.sha

    def erase(self, id_: int) -> None:
        if id_ in self.counted:
            self.erased[id_] = self.counted.pop(id_).day, None

    def own_erased(self) -> dict[int, int]:
        """Ids of erased events that this host itself has to claim."""
        return {id_: day for id_, (day, winner) in self.erased.items() if winner is None}

    def copy(self) -> State:
        return replace(self, counted=dict(self.counted), yielded=dict(self.yielded), erased=dict(self.erased))


@dataclass
class Row:
    """The ledger's row of an instance."""

    position: Position = field(default_factory=Position)
    horizon: int | None = None
    is_retired: bool = False
    published_seq: int = 0
    """The last block of ids that this instance has published: they count, or did until
    they were erased. What it claimed after that, no published generation has had.
    """


@dataclass
class Order:
    """An erasure. It is kept when every instance has confirmed it, so that a host can
    tell an order that has ended from one that the store has lost.
    """

    name: int
    id_: int
    confirmed: set[str] = field(default_factory=set)
    is_open: bool = True


@dataclass
class Store:
    """Claims, ledger, what is published, and orders."""

    rules: Rules
    rows: dict[str, Row] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    published: dict[str, State] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    """By name."""
    last_seq: int = 0
    pruned_before: int = -1000

    def backup(self) -> Store:
        return deepcopy(self)

    def epochs(self) -> dict[str, int]:
        return {instance: row.position.epoch_name for instance, row in self.rows.items()}

    def next_seq(self) -> int:
        self.last_seq += 1
        return self.last_seq

    def claimed_by(self, instance: str) -> set[Pair]:
        return {pair for block in self.blocks if block.instance == instance for pair in block.pairs}

    def published_claims(self, instance: str) -> set[Pair]:
        """What stays claimed whatever befalls its host."""
        last = self.rows[instance].published_seq
        return {pair for each in self.blocks if each.instance == instance and each.seq <= last for pair in each.pairs}

    def note_published(self, instance: str) -> None:
        """All that an instance has claimed until now is of ids that it published."""
        own = [block.seq for block in self.blocks if block.instance == instance]
        self.rows[instance].published_seq = max(own, default=0)

    def add_block(self, block: Block) -> None:
        """Claim: to be called with ids that no other instance has."""
        if block.pairs:
            self.blocks = sorted([*self.blocks, block], key=lambda each: each.seq)
        row = self.rows[block.instance]
        row.position = replace(row.position, claims=block.name)

    def begin_epoch(self, instance: str, epoch: int, name: int) -> None:
        """Release every claim of an instance. What hosts said of what may still come
        from them says nothing of what they yielded to it, and is void.
        """
        row = self.rows[instance]
        if self.rules.drop_raises_epoch:
            row.position = replace(row.position, epoch=epoch, epoch_name=name)
        self.blocks = [block for block in self.blocks if block.instance != instance]
        if self.rules.drop_resets_horizons:
            for each in self.rows.values():
                each.horizon = None

    def drop(self, instance: str, kept: Iterable[Pair], name: int) -> None:
        """Release the claims of an instance but those to be kept."""
        pairs = frozenset(kept) if self.rules.drop_releases else frozenset(kept) | self.claimed_by(instance)
        self.begin_epoch(instance, self.rows[instance].position.epoch + 1, name)
        self.add_block(Block(self.next_seq(), name, instance, self.epochs()[instance], pairs))
        self.note_published(instance)

    def publish(self, instance: str, state: State, horizon: int | None, orders: Iterable[int]) -> None:
        """Put a generation in place of the one before, and confirm orders by name."""
        row = self.rows[instance]
        row.position = replace(row.position, published=state.published)
        row.horizon = horizon
        self.note_published(instance)
        self.published[instance] = state
        for name in self.orders.keys() & set(orders):
            self.orders[name].confirmed.add(instance)
        self.finish_orders()

    def add_order(self, order: Order) -> None:
        self.orders[order.name] = order

    def open_orders(self) -> set[int]:
        """Ids that reports leave out."""
        return {order.id_ for order in self.orders.values() if order.is_open}

    def finish_orders(self) -> None:
        """An order ends when every instance that is not retired has confirmed it. What
        retired instances have is erased with that, for they confirm nothing.
        """
        waited_for = {instance for instance, row in self.rows.items() if not row.is_retired}
        for order in self.orders.values():
            if order.is_open and waited_for <= order.confirmed:
                order.is_open = False
                for instance in self.published.keys() - waited_for:
                    if self.rules.erases_retired:
                        self.published[instance].erase(order.id_)

    def prune(self, today: int) -> None:
        """Delete the claims that no copy can meet any more."""
        before = prunable_before([row.horizon for row in self.rows.values() if not row.is_retired], WINDOW)
        if not self.rules.prunes_by_hosts:
            before = today - 2 * WINDOW
        if before is None or before <= self.pruned_before:
            return
        self.pruned_before = before
        left = (
            replace(block, pairs=frozenset(pair for pair in block.pairs if pair[1] >= before)) for block in self.blocks
        )
        self.blocks = [block for block in left if block.pairs]
