"""What an operator types: takeover, rebuild, retirement, erasure. Each is one
transaction of the store, under the lock of claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.claims.decisions import NOTHING, Pair, kept_claims
from tests.claims.host import Host, Note
from tests.claims.store import Copy, Order, State, Store


def take_over(host: Host, store: Store) -> None:
    """Continue an instance on a host that lost its disk, or that was restored: what is
    published comes back from the store. Its own lines and its own archive are folded
    anew, under numbers that neither life of the host has used: the store, restored, may
    lack what is in them. What is published already is a duplicate.
    """
    copies, erased = _own_copies(host), host.state.erased
    state = store.published.get(host.instance, State()).copy()
    _drop_but_published(host.instance, store, next(host.names))
    host.state = state
    host.state.erased = {**erased, **state.erased}
    if host.rules.takeover_renumbers:
        host.next_number = max(host.next_number, state.folded + 1)
        host.log = []
        for id_, copy in copies:
            if id_ not in host.state.erased:
                host.receive(id_, copy)
    _begin_anew(host, store)


def _own_copies(host: Host) -> list[tuple[int, Copy]]:
    """Events that a host has: in its log, in its archive (the log may be past its
    retention, or never have been here).
    """
    logged = [(line.id_, line.copy) for line in host.log]
    archived = [*host.state.counted.items()]
    archived += [(id_, copy) for id_, (copy, _) in host.state.yielded.items()]
    return logged + [each for each in archived if host.rules.takeover_keeps_archive and each not in logged]


def lose_disk(host: Host, names: Iterator[int]) -> Host:
    """An empty host with the same identity; it takes over before it does anything."""
    return Host(host.instance, host.rules, names)


def rebuild(host: Host, store: Store) -> None:
    """Drop what the store has of an instance; its host then claims and publishes it
    again. What it published and has no more stays claimed: it was erased, and no other
    host may count it.
    """
    kept: set[Pair] = set()
    if host.rules.drop_keeps_erased:
        kept = {pair for pair in store.published_claims(host.instance) if pair[0] not in host.state.counted}
    store.drop(host.instance, kept, next(host.names))
    row = store.rows[host.instance]
    row.position = replace(row.position, published=NOTHING)
    if host.rules.drop_unpublishes:
        store.published.pop(host.instance, None)
    _begin_anew(host, store)


def retire(instance: str, store: Store, names: Iterator[int]) -> None:
    """Give up a host that is gone. What it has published counts on, and stays claimed;
    what it claimed besides is released.
    """
    _drop_but_published(instance, store, next(names))
    store.rows[instance].is_retired = True
    store.finish_orders()


def order_erasure(id_: int, store: Store, names: Iterator[int]) -> None:
    """From now on, reports leave the id out; every host removes it, then confirms."""
    store.add_order(Order(next(names), id_))


def _drop_but_published(instance: str, store: Store, name: int) -> None:
    """Release what the instance claimed and has not published."""
    state, rules = store.published.get(instance, State()), store.rules
    stays = {id_: copy.day for id_, copy in state.counted.items()} if rules.drop_keeps_published else {}
    kept = kept_claims(store.claimed_by(instance), stays)
    if rules.drop_keeps_erased:
        kept |= {pair for pair in store.published_claims(instance) if pair[0] not in state.counted}
    store.drop(instance, kept, name)


def _begin_anew(host: Host, store: Store) -> None:
    """Note where the store is, and know nothing of others."""
    host.crash()
    host.note = Note(store.rows[host.instance].position)
    host.claimed = store.claimed_by(host.instance)
    host.blocks, host.cursor, host.epochs = {}, (0, 0), {}
