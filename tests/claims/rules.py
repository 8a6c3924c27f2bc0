"""The rules by which an event id counts once over hosts, each as a flag.

All true is the protocol. A mutant turns one off (tests/claims/mutants.py); the model
reads the flags, and nothing is patched.
"""

from __future__ import annotations

from dataclasses import dataclass

# Copies of an id count once if their days are at most so many apart.
WINDOW = 3


@dataclass(frozen=True)
class Rules:
    """Which rules hold. Each sentence says what holds while the flag is true."""

    # Claiming
    compares_all_blocks: bool = True
    """Under the lock, an id meets every block, also those fetched before."""
    compares_neighbouring_days: bool = True
    """An id meets the claims of the days around its own, WINDOW either way."""
    takes_number_under_lock: bool = True
    """A block gets its number under the lock, so that numbers rise as blocks appear."""
    reads_under_lock: bool = True
    """The claims are read after the lock is held (READ COMMITTED), not before."""
    notes_claims: bool = True
    """The ledger names the last block of an instance, and its host notes it, too: a
    difference means that one of both was restored, and everything is claimed again."""
    checks_cursor: bool = True
    """A fetch begins anew if the last block that it brought is gone or is another."""
    fetches_anew_after_epoch: bool = True
    """A fetch begins anew if any instance is in another epoch than before: a store that
    was restored brings back claims which this host has seen released."""
    keeps_yielded_events: bool = True
    """A host keeps an event whose id another host counts, so that it can count it."""
    claims_again: bool = True
    """A host claims again what it yielded to an instance that has a new epoch."""

    # Publishing
    publishes_claimed_only: bool = True
    """A generation is published when each of its ids is claimed by its host."""
    notes_base: bool = True
    """The base of a publish is what the host noted, not what the store says."""

    # Dropping the claims of an instance: rebuild, takeover, retirement
    drop_releases: bool = True
    """What the instance claimed and does not count in the store is released."""
    drop_keeps_published: bool = True
    """What still counts in the store stays claimed (takeover, retirement)."""
    drop_unpublishes: bool = True
    """A rebuild takes back what is published in the transaction that releases it."""
    drop_raises_epoch: bool = True
    """An instance has a new epoch whenever its claims are released."""
    drop_keeps_erased: bool = True
    """What was published stays claimed, also where its event was erased since: the
    ledger notes the last block that it is in."""
    notes_published_with_publish: bool = True
    """The ledger notes it when a generation is published, not when it is claimed."""
    takeover_renumbers: bool = True
    """A restored host folds its own lines anew, under numbers that were never used."""
    takeover_keeps_archive: bool = True
    """A restored host that takes over folds its own archive anew, too."""

    # Pruning
    prunes_by_hosts: bool = True
    """A claim is kept while a host that is not retired may still bring a copy."""
    drop_resets_horizons: bool = True
    """After an epoch has changed, nothing is pruned until every host has seen it."""

    # Erasing
    erases_retired: bool = True
    """The last confirmation also removes the event from what retired instances have."""
    repeats_orders: bool = True
    """A host puts the orders that it knows into a store that does not know them."""
    orders_again: bool = True
    """An erased id that another instance claimed meanwhile is ordered again."""

    @property
    def window(self) -> int:
        return WINDOW if self.compares_neighbouring_days else 0
