"""How a host and its row in a store's ledger stand to each other, as a pure function of
both: who was restored, or copied, is found by comparing what each has noted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum

Generation = tuple[int, Hashable]
"""The number of a generation, and the hash of its snapshot."""


class Standing(Enum):
    """What follows for a host."""

    AS_NOTED = "as noted"
    RENEW = "the store, or claims of this host, are not as noted: claim everything again in a new epoch"
    REFUSED = "the store has more of this instance than the host: it was restored, or copied"


@dataclass(frozen=True)
class Place:
    """Where an instance is: in the ledger, or in the host's own note.

    Numbers of epochs say which is later, and are used again after the store was
    restored; `epoch_name`, that of the epoch's first block, never is. `claims`: the
    name of the last block.
    """

    epoch: int
    epoch_name: Hashable
    published: Generation
    claims: Hashable


def standing(ledger: Place, note: Place, *, notes_claims: bool = True) -> Standing:
    """Compare ledger and note, once the outcomes of lost answers are noted."""
    if ledger.epoch > note.epoch or ledger.published[0] > note.published[0]:
        # Also if the store was restored: it has what this host may not have.
        return Standing.REFUSED
    if ledger.epoch < note.epoch:
        return Standing.RENEW
    if ledger.epoch_name != note.epoch_name:
        return Standing.REFUSED
    if ledger.published != note.published:
        return Standing.RENEW if ledger.published[0] < note.published[0] else Standing.REFUSED
    is_as_noted = ledger.claims == note.claims or not notes_claims
    return Standing.AS_NOTED if is_as_noted else Standing.RENEW


def horizon(today: int, unfolded: Iterable[int], lateness_days: int) -> int:
    """The oldest day of which a host may still claim an id: `unfolded` are the days of
    lines that are in no published generation yet.
    """
    return min([today - lateness_days, *unfolded])
