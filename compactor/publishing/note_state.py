"""Notes what came of a try to publish in `run/store-state.json`, where that changed: an
idle round writes nothing. A note that cannot be written keeps no publish.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec.json import encode
from msgspec.structs import replace

from compactor.claims.claim import IdsClaimedElsewhere
from compactor.failures import failure_text
from compactor.tries import write_note
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot, SnapshotDamaged
from shared.segments.line import DataFromNewerVersion
from shared.settings import Settings
from shared.stores.address import FILE, shown_address
from shared.stores.ledger import StoreRefused
from shared.stores.state import StoreState, read_state
from shared.timestamps import now_ms, rfc3339

ERROR_MAX_CHARS = 500


@contextmanager
def noting_failure(data: DataDirectory, settings: Settings) -> Iterator[None]:
    """Note what the block raises: a try that failed."""
    try:
        yield
    except Exception as error:
        before = read_state(data, settings)
        newest = None if before.behind_since else _newest(data)
        _write(data, settings, after_failure(before, error, newest, rfc3339(now_ms())))
        raise


def note_published(data: DataDirectory, settings: Settings, newest: Snapshot) -> None:
    """The store holds this generation now, or held it already."""
    _write(data, settings, after_publish(read_state(data, settings), newest, rfc3339(now_ms())))


def note_emptied(data: DataDirectory, settings: Settings) -> None:
    """The store holds nothing of this directory any more."""
    _write(data, settings, StoreState(shown_address(settings.store)))


def after_publish(before: StoreState, newest: Snapshot, at: str) -> StoreState:
    """The state once a generation is there."""
    is_same = (before.generation, before.as_of) == (newest.generation, newest.as_of)
    return StoreState(before.store, newest.generation, newest.as_of, before.published_at if is_same else at)


def after_failure(before: StoreState, error: Exception, newest: Snapshot | None, at: str) -> StoreState:
    """The state after a try that ended with an error. Ids that wait for a pass are no
    failure.
    """
    if newest is not None and newest.generation > before.generation:
        before = replace(before, behind_since=newest.as_of)
    if isinstance(error, IdsClaimedElsewhere):
        return replace(before, waiting_ids=error.events, failures=0, failing_since="", error="", is_refused=False)
    text = str(error) if isinstance(error, UsageError) else failure_text(error)
    return replace(
        before,
        failures=before.failures + 1,
        failing_since=before.failing_since or at,
        error=" ".join(text.split())[:ERROR_MAX_CHARS],
        is_refused=isinstance(error, StoreRefused),
        waiting_ids=0,
    )


def _newest(data: DataDirectory) -> Snapshot | None:
    try:
        return load_snapshot(data)
    except (OSError, SnapshotDamaged, DataFromNewerVersion):
        return None


def _write(data: DataDirectory, settings: Settings, state: StoreState) -> None:
    if settings.store == FILE or (data.store_state.exists() and read_state(data, settings) == state):
        return
    with suppress(OSError):
        write_note(data, data.store_state, encode(state))
