"""How the store does, for metrics, readiness, the status and the doctor: from the note
of the publisher and the newest generation that is here, without asking the database.
"""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec

from shared.answer_types import Count, Instant
from shared.disk.layout import DataDirectory
from shared.disk.marks import read_mark
from shared.generations.load import kept_generations
from shared.generations.snapshot import Snapshot
from shared.settings import Settings
from shared.stores.address import FILE
from shared.stores.state import StoreState, read_state
from shared.timestamps import epoch_ms, now_ms


class StoreStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The store of FOLDLOG_STORE. `lag_s`: for how long it has lacked a generation that
    is here, 0 if it lacks none.
    """

    store: str
    generation: Count
    as_of: Instant | None
    published_at: Instant | None
    lag_s: float
    failures: Count
    failing_since: Instant | None
    refused: bool
    waiting_ids: Count
    error: str | None


def store_status(data: DataDirectory, settings: Settings, newest: Snapshot) -> StoreStatus | None:
    """None without a store, and for a user who may not read the note."""
    if settings.store == FILE or (data.run.exists() and not os.access(data.run, os.X_OK)):
        return None
    state = read_state(data, settings)
    since_ms = _lacks_since_ms(data, state, newest)
    return StoreStatus(
        store=state.store,
        generation=state.generation,
        as_of=state.as_of or None,
        published_at=state.published_at or None,
        lag_s=0.0 if since_ms is None else max(0.0, (now_ms() - since_ms) / 1000),
        failures=state.failures,
        failing_since=state.failing_since or None,
        refused=state.is_refused,
        waiting_ids=state.waiting_ids,
        error=state.error or None,
    )


def _lacks_since_ms(data: DataDirectory, state: StoreState, newest: Snapshot) -> int | None:
    """When the first generation came that the store lacks, as far as that is known.

    Without the publisher, which notes it, the kept snapshots say it: the modification
    time of each is that of its commit.
    """
    if state.generation >= newest.generation:
        return None
    times = [epoch_ms(newest.as_of)]
    if state.behind_since:
        with suppress(ValueError):
            times.append(epoch_ms(state.behind_since))
    lacking = (data.kept_snapshot(each) for each in kept_generations(data) if each > state.generation)
    times += [at_ms for at_ms in map(read_mark, lacking) if at_ms is not None]
    return min(times)


def store_warning(found: StoreStatus | None, newest: int, settings: Settings) -> str | None:
    """The sentence for a store that takes nothing of this host, or has been behind for
    as long as a fold may be late; None if all is well. `newest`: the generation here.
    """
    if found is None:
        return None
    if found.refused:
        return f"the store takes nothing of this host: {found.error}"
    if found.lag_s <= settings.fold_late_after_s:
        return None
    held = f"generation {found.generation:,} of {newest:,}" if found.generation else "nothing of this host yet"
    return f"the store has been behind for {found.lag_s:.0f} s and holds {held}: {_reason(found)}"


def _reason(found: StoreStatus) -> str:
    if found.failures:
        return f"{found.failures:,} tries failed, the last with: {found.error}"
    if found.waiting_ids:
        return f"{found.waiting_ids:,} ids wait until a pass has yielded them, or counts them again"
    return "no try has ended; check that the compactor runs, and its log"
