"""A host of the model: its log, what it has folded, what it knows of others.

All but `pending` and `to_yield` is on its disk. The steps of claiming and publishing
are in tests/claims/claiming.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

from compactor.claims.standing import Generation
from tests.claims.decisions import NOTHING, Block, Pair, Position, Winner, lost_to, no_longer_claimed
from tests.claims.rules import Rules
from tests.claims.store import Copy, Order, State, Store


@dataclass(frozen=True)
class Line:
    """An acknowledged event in the log. Numbers rise; the time of receipt need not: a
    host has several writers.
    """

    number: int
    id_: int
    copy: Copy


@dataclass
class Note:
    """What a host has written down of the store: where it was, and what it intends."""

    position: Position = field(default_factory=Position)
    intended_publish: Generation = NOTHING
    intended_claim: tuple[int, int] = (0, 0)
    """The epoch and the name of a block, noted before its transaction commits."""


@dataclass
class PendingClaim:
    """A transaction of claims that has begun. `seq` and `view` are a mutant's."""

    name: int
    epoch: int
    is_renewal: bool
    wanted: frozenset[Pair]
    seq: int | None = None
    view: list[Block] | None = None


@dataclass
class PendingPublish:
    """A publish of which the intent is noted."""

    state: State
    horizon: int
    orders: frozenset[int]


@dataclass
class Host:
    """A host that is there. `names` yields numbers that are never used twice."""

    instance: str
    rules: Rules
    names: Iterator[int]
    state: State = field(default_factory=State)
    log: list[Line] = field(default_factory=list)
    next_number: int = 1
    blocks: dict[int, Block] = field(default_factory=dict)
    """Blocks of other instances by seq: the fold's index of ids."""
    cursor: tuple[int, int] = (0, 0)
    """Seq and name of the last block that was fetched."""
    epochs_of_blocks: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    """Names of the epochs after which what was yielded was looked at again."""
    claimed: set[Pair] = field(default_factory=set)
    note: Note = field(default_factory=Note)
    orders: dict[int, int] = field(default_factory=dict)
    """Orders of erasure that this host has followed: their names, and the ids."""
    to_yield: dict[Pair, Winner] = field(default_factory=dict)
    pending: PendingClaim | PendingPublish | None = None

    def backup(self) -> Host:
        """A copy of its disk."""
        names, self.names = self.names, iter(())
        copy = deepcopy(self)
        self.names = copy.names = names
        copy.crash()
        return copy

    def crash(self) -> None:
        self.pending = None
        self.to_yield = {}

    def receive(self, id_: int, copy: Copy) -> None:
        """Acknowledge an event: it is in the log."""
        self.log.append(Line(self.next_number, id_, copy))
        self.next_number += 1

    def unfolded(self) -> list[Line]:
        return [line for line in self.log if line.number > self.state.folded]

    def fold(self, most: int) -> None:
        """Count the next lines of the log, a generation."""
        lines = self.unfolded()[:most]
        if lines:
            self.begin_generation()
        others = self.others_of(lines)
        for line in lines:
            self._fold_line(line, others.get((line.id_, line.copy.day)))
            self.state.folded = line.number

    def others_of(self, lines: Iterable[Line]) -> dict[Pair, Winner]:
        pairs = [(line.id_, line.copy.day) for line in lines]
        return lost_to(pairs, self.blocks.values(), self.instance, self.rules.window)

    def _fold_line(self, line: Line, winner: Winner | None) -> None:
        """Within a host the first received counts; an id that another has claimed does
        not count here at all.
        """
        state, copy = self.state, line.copy
        if line.id_ in state.erased:
            return
        if line.id_ in state.counted:
            state.counted[line.id_] = _first(state.counted[line.id_], copy)
        elif line.id_ in state.yielded:
            before, of_before = state.yielded[line.id_]
            state.yielded[line.id_] = _first(before, copy), of_before
        elif winner is None:
            state.counted[line.id_] = copy
        elif self.rules.keeps_yielded_events:
            state.yielded[line.id_] = copy, winner

    def begin_generation(self) -> None:
        self.state.generation += 1
        self.state.sha = next(self.names)

    def unclaimed(self) -> set[Pair]:
        """What has to be claimed before this generation is published."""
        return self.to_claim() - self.claimed

    def to_claim(self) -> set[Pair]:
        """All that this host counts, and what it erased unless another claimed it."""
        counted = {(id_, copy.day) for id_, copy in self.state.counted.items()}
        return counted | {(id_, day) for id_, (day, winner) in self.state.erased.items() if winner is None}

    def yield_generation(self) -> None:
        """Move what others claimed first from counted to duplicates."""
        if self.to_yield:
            self.begin_generation()
        for pair, winner in self.to_yield.items():
            self._give(pair, winner)
        self.to_yield = {}
        self.count_what_is_won()

    def fetch(self, store: Store) -> None:
        """Learn of claims, of epochs and of orders, and do what follows from them."""
        self.epochs = store.epochs()
        self.fetch_blocks(store.blocks, self.epochs)
        claimed_since = self._claim_again(store.pruned_before)
        self.order_again(store, claimed_since)
        self.count_what_is_won()
        self._follow_orders(store)

    def fetch_blocks(self, blocks: list[Block], epochs: dict[str, int]) -> list[Block]:
        """Bring the index up to the store's; returns the blocks that came. What an
        instance claimed in an epoch that has ended is left out.
        """
        if self._begins_anew(blocks, epochs):
            self.cursor, self.blocks = (0, 0), {}
        came = [block for block in blocks if block.seq > self.cursor[0]]
        if came:
            self.cursor = came[-1].seq, came[-1].name
        self.blocks.update((block.seq, block) for block in came)
        self.blocks = {
            seq: block
            for seq, block in self.blocks.items()
            if block.instance != self.instance and epochs.get(block.instance) == block.epoch
        }
        self.epochs_of_blocks = epochs
        return [block for block in came if block.instance != self.instance]

    def _begins_anew(self, blocks: list[Block], epochs: dict[str, int]) -> bool:
        is_gone = self.cursor[0] and self.cursor not in {(each.seq, each.name) for each in blocks}
        if is_gone and self.rules.checks_cursor:
            return True
        return epochs != self.epochs_of_blocks and self.rules.fetches_anew_after_epoch

    def _claim_again(self, pruned_before: int) -> list[int]:
        """Count what was yielded to a claim that is gone, unless there is another. Like
        any id, it is claimed before it is published. Returns the ids that another
        instance has claimed since.
        """
        if not self.rules.claims_again:
            return []
        blocks = list(self.blocks.values())
        pairs = self.yielded_pairs()
        gone = no_longer_claimed(
            {id_: winner for (id_, _), winner in pairs.items()}, blocks, self.epochs, pruned_before
        )
        again = [pair for pair in pairs if pair[0] in gone]
        winners = lost_to(again, blocks, self.instance, self.rules.window)
        if again:
            self.begin_generation()
        for pair in again:
            self._give(pair, winners.get(pair))
        return [id_ for id_, _ in winners]

    def order_again(self, store: Store, ids: Iterable[int]) -> None:
        """What this host erased and another instance has claimed since may count there,
        also if that instance has confirmed the order before.
        """
        for id_ in ids:
            if id_ in self.state.erased and self.rules.orders_again:
                store.add_order(Order(next(self.names), id_))

    def yielded_pairs(self) -> dict[Pair, Winner]:
        """What this host has, counted or erased, that another instance has claimed."""
        yielded = {(id_, copy.day): winner for id_, (copy, winner) in self.state.yielded.items()}
        erased = {(id_, day): winner for id_, (day, winner) in self.state.erased.items() if winner is not None}
        return {**yielded, **erased}

    def count_what_is_won(self) -> None:
        """Count what was yielded, and could be claimed in a new epoch."""
        won = {id_ for id_, _ in self.claimed}
        pairs = [pair for pair in self.yielded_pairs() if pair[0] in won]
        if pairs:
            self.begin_generation()
        for pair in pairs:
            self._give(pair, None)

    def _give(self, pair: Pair, winner: Winner | None) -> None:
        """Yield an id to the winner; without one, count it here."""
        id_, day = pair
        state = self.state
        if id_ in state.erased:
            state.erased[id_] = day, winner
            return
        copy = state.counted.pop(id_, None) or state.yielded.pop(id_)[0]
        if winner is None:
            state.counted[id_] = copy
        elif self.rules.keeps_yielded_events:
            state.yielded[id_] = copy, winner

    def _follow_orders(self, store: Store) -> None:
        """Erase what is ordered. An order that this host knows and the store does not
        was lost when the store was restored, and is put there again.
        """
        for name, id_ in self.orders.items():
            if name not in store.orders and self.rules.repeats_orders:
                store.add_order(Order(name, id_))
        for order in store.orders.values():
            self.orders[order.name] = order.id_
            if order.is_open:
                self._erase(order.id_)

    def confirmable(self) -> set[int]:
        """Orders of whose events nothing is left here."""
        here = self.state.counted.keys() | self.state.yielded.keys() | {line.id_ for line in self.unfolded()}
        return {name for name, id_ in self.orders.items() if id_ not in here}

    def _erase(self, id_: int) -> None:
        """Remove an event wherever it is, and keep its id."""
        state = self.state
        lines = [line for line in self.log if line.id_ == id_]
        if not lines and id_ not in state.counted and id_ not in state.yielded:
            return
        self.begin_generation()
        self.log = [line for line in self.log if line.id_ != id_]
        copy = lines[0].copy if lines else None
        copy = state.counted.pop(id_, copy)
        copy, winner = state.yielded.pop(id_, (copy, None))
        if copy is not None:
            state.erased.setdefault(id_, (copy.day, winner))


def _first(one: Copy, other: Copy) -> Copy:
    return min(one, other, key=lambda copy: copy.received)
