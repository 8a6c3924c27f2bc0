"""Wrong protocols by name: each turns one rule of the model off, and the interleavings
must find an id that is lost, counts twice, or was erased and counts. One rule more is
broken in tests/claims/scenarios.py only: seeds seldom reach it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.claims.rules import Rules


@dataclass(frozen=True)
class Mutant:
    """`name` says what the wrong protocol does. The interleaving of `seed`, in which
    the actions of `focus` are frequent, catches it.
    """

    name: str
    rules: Rules
    seed: int
    focus: tuple[str, ...] = ()


MUTANTS = (
    Mutant("compares only blocks that it has not seen", Rules(compares_all_blocks=False), 2),
    Mutant("compares only claims of the same day", Rules(compares_neighbouring_days=False), 0),
    Mutant("takes the number of a block before the lock", Rules(takes_number_under_lock=False), 34),
    Mutant("reads claims before it has the lock", Rules(reads_under_lock=False), 8),
    Mutant("does not notice that its claims were restored", Rules(notes_claims=False), 24),
    Mutant("fetches after a number that was used again", Rules(checks_cursor=False), 123, ("restore_store",)),
    Mutant(
        "fetches on after an epoch has ended",
        Rules(fetches_anew_after_epoch=False),
        1391,
        ("restore_store", "rebuild", "fetch"),
    ),
    Mutant("keeps no event that it yielded", Rules(keeps_yielded_events=False), 9),
    Mutant("does not claim again what it yielded", Rules(claims_again=False), 9),
    Mutant("publishes what it has not claimed", Rules(publishes_claimed_only=False), 2),
    Mutant("takes the base of a publish from the store", Rules(notes_base=False), 14),
    Mutant("a dropped instance keeps its claims", Rules(drop_releases=False), 9),
    Mutant("a retired instance releases what counts on", Rules(drop_keeps_published=False), 2),
    Mutant("a rebuild releases before it unpublishes", Rules(drop_unpublishes=False), 28),
    Mutant("an epoch goes on when its claims are released", Rules(drop_raises_epoch=False), 0),
    Mutant("a restored host uses numbers of lines again", Rules(takeover_renumbers=False), 2),
    Mutant(
        "a takeover throws the archive of a restored host away",
        Rules(takeover_keeps_archive=False),
        987,
        ("restore_store", "restore_host", "take_over", "pass_day"),
    ),
    Mutant("prunes by the calendar", Rules(prunes_by_hosts=False), 21),
    Mutant(
        "prunes before yielded ids are claimed again",
        Rules(drop_resets_horizons=False),
        238,
        ("pass_day", "prune", "rebuild"),
    ),
    Mutant("an erased id that was claimed meanwhile stays", Rules(orders_again=False), 516, ("erase", "restore_store")),
    Mutant(
        "an order that the store has lost is forgotten",
        Rules(repeats_orders=False),
        388,
        ("erase", "restore_store", "fetch"),
    ),
    Mutant("what a retired instance has is not erased", Rules(erases_retired=False), 384, ("erase", "retire")),
)
