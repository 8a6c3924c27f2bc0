"""What the protocol decides, as pure functions of values: what is claimed, what is
yielded, what is released, what is pruned, and who was restored.

Who was restored is decided by the real code itself (compactor/claims/standing.py);
what is lost and kept it computes in SQL.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from compactor.claims.standing import Generation, Place

Pair = tuple[int, int]
"""An event id, and the UTC day of the copy that counts."""
NOTHING: Generation = (0, 0)


class Winner(NamedTuple):
    """Who counts an id that this host yielded: an instance in one of its epochs, by the
    epoch's name, with a claim on that day.
    """

    instance: str
    epoch: int
    day: int


@dataclass(frozen=True)
class Block:
    """Ids that an instance claimed in one transaction. `name` is never used twice, as
    that of a hash; `seq` is, after the store was restored.
    """

    seq: int
    name: int
    instance: str
    epoch: int
    pairs: frozenset[Pair]

    def winner(self, day: int) -> Winner:
        return Winner(self.instance, self.epoch, day)


@dataclass(frozen=True)
class Position(Place):
    """A place that begins with nothing; the model's names are numbers."""

    epoch: int = 1
    epoch_name: int = 0
    published: Generation = NOTHING
    claims: int = 0


def lost_to(wanted: Iterable[Pair], blocks: Iterable[Block], instance: str, window: int) -> dict[Pair, Winner]:
    """Which of the wanted ids another instance has claimed, and who."""
    by_id: dict[int, list[Winner]] = {}
    for block in blocks:
        if block.instance != instance:
            for id_, day in block.pairs:
                by_id.setdefault(id_, []).append(block.winner(day))
    found = {}
    for id_, day in wanted:
        near = [winner for winner in by_id.get(id_, ()) if abs(winner.day - day) <= window]
        if near:
            found[id_, day] = near[0]
    return found


def no_longer_claimed(
    yielded: Mapping[int, Winner], blocks: Iterable[Block], epochs: Mapping[str, int], pruned_before: int
) -> set[int]:
    """Which yielded ids no host counts any more, as far as is known: the epoch of the
    winner has ended, or its claim is gone though its day is not pruned, as after a
    restore of the store.
    """
    there = {(block.instance, block.epoch, *pair) for block in blocks for pair in block.pairs}
    return {
        id_
        for id_, winner in yielded.items()
        if epochs.get(winner.instance) != winner.epoch
        or (winner.day >= pruned_before and (winner.instance, winner.epoch, id_, winner.day) not in there)
    }


def kept_claims(claimed: Iterable[Pair], stays: Mapping[int, int], also: Collection[int] = ()) -> frozenset[Pair]:
    """What stays claimed when an instance is dropped; the rest is released.

    `stays`: ids and days of what the store goes on counting of this instance, and of
    what is erased there; they are claimed again even where the claim was pruned.
    `also`: ids that stay claimed if they are.
    """
    return frozenset(pair for pair in claimed if pair[0] in stays or pair[0] in also) | frozenset(stays.items())


def prunable_before(horizons: Collection[int | None], window: int) -> int | None:
    """Claims of days before this one can meet no copy any more. None while a host has
    not said what may still come from it.
    """
    stated = [each for each in horizons if each is not None]
    return min(stated) - window if stated and len(stated) == len(horizons) else None
