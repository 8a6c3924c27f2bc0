"""`foldlog store`: what a store holds, and how it is put right."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from compactor.absorb.absorb import absorb
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.publishing.instance import instance_id
from compactor.publishing.new_instance import begin_as_another
from compactor.publishing.publish import Published, compare_store, publish_newest, rebuild_store, retire_instance
from compactor.publishing.settle import publish_settled
from compactor.publishing.ship_retired import ship_retired
from compactor.takeover.restore import restore
from compactor.takeover.takeover import take_over
from foldlog.commands import Invocation
from foldlog.preflight import check_start, require_data_dir
from foldlog.processes import find_running
from foldlog.terminal import Console, steps
from shared.control_chars import printable
from shared.disk.durable import make_data_directory
from shared.exit_codes import PROBLEMS, SUCCESS
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.settings import SettingsError
from shared.stores.address import is_postgres
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.instance import OtherInstance, check_instance, is_empty, read_instance
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.postgres.migrate import script
from shared.stores.postgres.store import PostgresStore
from shared.stores.store import Store
from shared.timestamps import now_ms


def run(call: Invocation) -> int:
    if call.options.action == "migrate":  # who owns the tables may have no directory
        return _migrate(call)
    if call.options.action in _OF_INSTANCE:
        return _OF_INSTANCE[call.options.action](call)
    require_data_dir(call.data)
    check_instance(call.data, call.settings.instance)
    return _ACTIONS[call.options.action](call)


def _store(call: Invocation) -> Store:
    return open_store(call.settings, instance_id(call.data))


def _status(call: Invocation) -> int:
    """Which generation is there, and how far it is behind."""
    store, newest = _store(call), load_snapshot(call.data).generation
    held = store.position()
    if held is None or not held.generation:
        print(f"{store} is empty; generation {newest} is not published yet")
    else:
        behind = "the newest" if held.generation == newest else f"the newest is {newest}"
        print(
            f"{store} holds generation {held.generation} of {held.snapshot.as_of} ({behind}), instance {held.instance}"
        )
    if isinstance(store, (PostgresStore, ClickHouseStore)):
        _show_instances(store, instance_id(call.data))
    if isinstance(store, ClickHouseStore) and store.rebuild.is_filling():
        _show_rebuild(store)
    return SUCCESS


def _show_instances(store: PostgresStore | ClickHouseStore, own: str) -> None:
    """The instances of the other hosts."""
    for each in store.instances():
        if each.instance == own:
            continue
        held = f"generation {each.generation} of {each.as_of:%Y-%m-%dT%H:%M:%SZ}" if each.as_of else "nothing yet"
        gone = f", retired on {each.retired_at:%Y-%m-%d}" if each.retired_at else ""
        print(f"  host {printable(each.host)}, instance {each.instance}: {held}{gone}")


def _retire(call: Invocation) -> int:
    """What a host that is gone for good has published counts on."""
    retire_instance(call.data, call.settings, _store(call), call.options.instance)
    print(f"The instance {call.options.instance} is retired: what it has published counts on, and nothing is added.")
    return SUCCESS


def _absorb(call: Invocation) -> int:
    """What a retired host has published is this host's from then on."""
    done = absorb(call.data, call.settings, _store(call), call.log, call.options.instance)
    print(
        f"This directory has what {call.options.instance} had published: {done.events:,} events, and "
        f"{done.duplicates:,} that were here already. The store has them as this host's."
    )
    return SUCCESS


def _new_instance(call: Invocation) -> int:
    """A copied directory gets its own identity."""
    made = begin_as_another(call.data, _store(call))
    print(f"This directory is the instance {made} from now on; the next pass publishes it.")
    return SUCCESS


def _publish(call: Invocation) -> int:
    store, source = _store(call), call.options.from_store
    if source is not None and not (isinstance(store, ClickHouseStore) and is_postgres(source)):
        raise SettingsError("--from takes postgresql://…, where FOLDLOG_STORE is clickhouse://…")
    with steps(Console(stderr=True), "sent") as step:

        def progress(days: int, of_all: int, events: int) -> None:
            step(f"{days:,} of {of_all:,} days, {events:,} events")

        publish = partial(publish_newest, progress=progress)
        done = publish_settled(call.data, call.settings, store, call.log, publish)
        if source is not None and isinstance(store, ClickHouseStore):
            for each in ship_retired(call.data, call.settings, store, source, progress):
                print(
                    f"{store} has what the retired host {each.host} had: {each.days:,} days, instance {each.instance}"
                )
    return _show(store, done)


def _rebuild(call: Invocation) -> int:
    store = _store(call)
    done = publish_settled(call.data, call.settings, store, call.log, rebuild_store)
    if isinstance(store, ClickHouseStore) and store.rebuild.is_filling():
        _show_rebuild(store)
        return SUCCESS
    return _show(store, done)


def _show_rebuild(store: ClickHouseStore) -> None:
    hosts = ", ".join(map(printable, store.rebuild.waits_for())) or "a moment in which no host publishes"
    print(f"{store} is being rebuilt, and answers from what it had. It waits for: {hosts}")


def _show(store: object, done: Published) -> int:
    if done.generation == done.before:
        print(f"{store} holds generation {done.generation}, the newest, already")
    else:
        before = f"generation {done.before}" if done.before else "nothing"
        print(f"{store} holds generation {done.generation}, before it held {before}")
    return SUCCESS


def _migrate(call: Invocation) -> int:
    """Make the tables of a PostgreSQL store, or show the SQL that does."""
    store = open_store(call.settings, "")
    if isinstance(store, ClickHouseStore):
        return _make_tables(store, dry_run=call.options.dry_run)
    if not isinstance(store, PostgresStore):
        raise StoreRefused(str(store), "makes its tables by itself: only a database server is migrated")
    if call.options.dry_run:
        print(script(store.pending()) or f"-- {store} has all tables of this Foldlog")
        return SUCCESS
    applied = [f"{each.version:04d}_{each.name}" for each in store.migrate()]
    print(f"{store} has all tables of this Foldlog" + (f"; applied {', '.join(applied)}" if applied else " already"))
    return SUCCESS


def _make_tables(store: ClickHouseStore, *, dry_run: bool) -> int:
    if dry_run:
        print(";\n\n".join(store.table_statements()) + ";")
    else:
        store.make_tables()
        print(f"{store} has all tables of this Foldlog")
    return SUCCESS


def _check(call: Invocation) -> int:
    store, found = _store(call), list[str]()
    try:
        held = compare_store(call.data, call.settings, store, found.append)
    except PartDamaged as error:
        raise StoreUnavailable(str(store), f"{error}; type `foldlog store publish`, then check again") from None
    for text in found:
        print(f"WRONG {printable(text)}")
    if found:
        print("To do: `foldlog store rebuild` fills the store again from this directory.")
        return PROBLEMS
    print(f"{store} is as the parts say" + (f" (generation {held.generation})" if held else ": both are empty"))
    return SUCCESS


def _takeover(call: Invocation) -> int:
    """Also the first step of `serve`, which then waits for this process."""
    known = read_instance(call.data)
    wanted = call.settings.instance or (known.instance if known else None)
    if wanted is None:
        raise SettingsError("set FOLDLOG_INSTANCE to the instance to be taken over")
    _require_stopped(call)
    check_start(call.data)
    make_data_directory(call.data)
    with compactor_lock(call.data) as lock:
        done = take_over(call.data, call.settings, call.log, lock, wanted, now_ms())
    if done.is_new:
        print(f"The store does not know the instance {wanted}: it begins here.")
    else:
        lines = f"{done.lines:,} lines that no generation has yet"
        print(f"This directory continues the instance {wanted}: generation {done.generation}, and {lines}.")
    return SUCCESS


def _require_stopped(call: Invocation) -> None:
    running = find_running(call.data)
    if running.responsive or running.serve not in {None, os.getppid()}:
        raise SettingsError(f"stop `foldlog serve` on {call.data.root} first")


def _restore(call: Invocation) -> int:
    """An empty directory takes the instance over instead."""
    known, wanted = read_instance(call.data), call.settings.instance
    if is_empty(call.data) or (known and known.is_taking_over):
        return _takeover(call)
    require_data_dir(call.data)
    if wanted and (known is None or known.instance != wanted):
        raise OtherInstance(call.data, wanted, known.instance if known else None)
    _require_stopped(call)
    check_start(call.data)
    with compactor_lock(call.data, LOCK_TIMEOUT_S) as lock:
        done = restore(call.data, call.settings, call.log, lock, now_ms())
    print(f"This directory has generation {done.generation} of the instance {done.instance} again, from the store.")
    print(
        f"Of what only this directory had, {done.lines:,} events and {done.segments:,} segments of its log are folded "
        "by the next pass; what counts already is a duplicate."
    )
    print("A host that runs on another copy of this directory can neither publish nor acknowledge any more: stop it.")
    return SUCCESS


_OF_INSTANCE: dict[str, Callable[[Invocation], int]] = {"takeover": _takeover, "restore": _restore}

_ACTIONS: dict[str, Callable[[Invocation], int]] = {
    "status": _status,
    "publish": _publish,
    "check": _check,
    "rebuild": _rebuild,
    "retire": _retire,
    "absorb": _absorb,
    "new-instance": _new_instance,
}
