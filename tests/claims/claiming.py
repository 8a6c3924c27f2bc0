"""Claiming and publishing, each in two steps, so that anything may lie between: the
intent is noted (begin), the transaction commits (commit). Its answer may be lost.
"""

from __future__ import annotations

from dataclasses import replace

from compactor.claims.standing import Standing, horizon, standing
from tests.claims.decisions import NOTHING, Block, Pair, kept_claims, lost_to
from tests.claims.host import Host, PendingClaim, PendingPublish
from tests.claims.store import Store

LATENESS_DAYS = 3


def look_up_outcome(host: Host, store: Store) -> Standing:
    """Note what became of a transaction whose answer was lost, then say how host and
    store stand to each other.
    """
    position, note = store.rows[host.instance].position, host.note
    epoch, name = note.intended_claim
    if name and (position.epoch, position.claims) == (epoch, name):
        _note_claims(host, store)
    if position.epoch == note.position.epoch and position.published == note.intended_publish != NOTHING:
        note.position = replace(note.position, published=position.published)
    return standing(position, note.position, notes_claims=host.rules.notes_claims)


def _note_claims(host: Host, store: Store) -> None:
    """Note as claimed what the store says of this host."""
    _, name = host.note.intended_claim
    position = store.rows[host.instance].position
    if position.epoch_name != host.note.position.epoch_name:
        host.note.position = replace(position, claims=name)
        host.claimed = set()
    host.claimed |= store.claimed_by(host.instance)
    host.note.position = replace(host.note.position, claims=name)
    host.note.intended_claim = (0, 0)


def begin_claim(host: Host, store: Store) -> None:
    """Note the intent to claim what is not claimed, or everything in a new epoch."""
    found = look_up_outcome(host, store)
    if found is Standing.REFUSED and not host.rules.notes_base:
        # The mutant believes the store.
        host.note.position = store.rows[host.instance].position
        found = Standing.AS_NOTED
    is_renewal = found is Standing.RENEW
    if is_renewal:
        # What the store still counts of this host may be in lines that a takeover left
        # to be folded; unclaimed, another host could count it at the same time.
        host.fold(len(host.log))
    wanted = host.to_claim() | set(host.yielded_pairs()) if is_renewal else host.unclaimed()
    if found is Standing.REFUSED or not (wanted or is_renewal):
        return
    epochs = host.note.position.epoch, store.rows[host.instance].position.epoch
    epoch = max(epochs) + 1 if is_renewal and host.rules.drop_raises_epoch else max(epochs)
    host.pending = PendingClaim(next(host.names), epoch, is_renewal, frozenset(wanted))
    if not host.rules.takes_number_under_lock:
        host.pending.seq = store.next_seq()
    if not host.rules.reads_under_lock:
        host.pending.view = list(store.blocks)
    host.note.intended_claim = epoch, host.pending.name


def commit_claim(host: Host, store: Store, *, is_answered: bool) -> None:
    """Under the lock: read the blocks of others, claim what no other instance has, and
    learn what has to be yielded.
    """
    pending, host.pending = host.pending, None
    assert isinstance(pending, PendingClaim)
    position = store.rows[host.instance].position
    found = standing(position, host.note.position, notes_claims=host.rules.notes_claims)
    if found is not (Standing.RENEW if pending.is_renewal else Standing.AS_NOTED):
        return
    came = host.fetch_blocks(pending.view if pending.view is not None else store.blocks, store.epochs())
    blocks = list(host.blocks.values()) if host.rules.compares_all_blocks else came
    lost = lost_to(pending.wanted, blocks, host.instance, host.rules.window)
    won = pending.wanted - set(lost)
    published: frozenset[Pair] = frozenset()
    if pending.is_renewal:
        won = kept_claims(store.claimed_by(host.instance), dict(won))
        if host.rules.drop_keeps_erased:
            published = frozenset(store.published_claims(host.instance))
        store.begin_epoch(host.instance, pending.epoch, pending.name)
    epoch = store.epochs()[host.instance]
    if pending.is_renewal:
        store.add_block(Block(store.next_seq(), pending.name, host.instance, epoch, published))
        store.note_published(host.instance)
    seq = pending.seq or store.next_seq()
    store.add_block(Block(seq, pending.name, host.instance, epoch, frozenset(won) - published))
    if not host.rules.notes_published_with_publish:
        store.note_published(host.instance)
    host.order_again(store, [id_ for id_, _ in lost])
    if is_answered:
        _note_claims(host, store)
        host.to_yield = lost
    else:
        host.crash()


def begin_publish(host: Host, store: Store, today: int) -> None:
    """Note the intent to publish the newest generation, if all of it is claimed. One
    that is published already is published again: an idle host, too, has to say what may
    still come from it, and to confirm orders.
    """
    if look_up_outcome(host, store) is not Standing.AS_NOTED:
        return
    host.count_what_is_won()
    if host.rules.publishes_claimed_only and host.unclaimed():
        return
    oldest = horizon(today, [line.copy.day for line in host.unfolded()], LATENESS_DAYS)
    host.pending = PendingPublish(host.state.copy(), oldest, frozenset(host.confirmable()))
    host.note.intended_publish = host.state.published


def commit_publish(host: Host, store: Store, *, is_answered: bool) -> None:
    """Compare and set. The horizon counts only if the host has seen every epoch."""
    pending, host.pending = host.pending, None
    assert isinstance(pending, PendingPublish)
    position = store.rows[host.instance].position
    found = standing(position, host.note.position, notes_claims=host.rules.notes_claims)
    if found is not Standing.AS_NOTED:
        return
    has_seen_all = host.epochs == store.epochs() or not host.rules.drop_resets_horizons
    store.publish(host.instance, pending.state, pending.horizon if has_seen_all else None, pending.orders)
    if is_answered:
        host.note.position = replace(host.note.position, published=pending.state.published)
    else:
        host.crash()
