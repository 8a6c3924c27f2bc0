"""The difference between two generations, as a store asks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from compactor.publishing.changed_events import EventSource, LeftOut, Progress, changed_days, changed_events
from compactor.publishing.changed_rows import changed_rows
from compactor.publishing.changed_visitors import changed_visitors
from compactor.publishing.visitor_counts import changed_counts
from shared.disk.layout import DataDirectory
from shared.generations.part_integrity import PartDamaged, PartError
from shared.generations.snapshot import Snapshot
from shared.stores.counter_rows import DayRows
from shared.stores.event_batches import EventBatch, Shipping
from shared.stores.store import StoredPart, stored_parts
from shared.stores.visitor_rows import DayCounts, DayVisitors

if TYPE_CHECKING:
    import duckdb


class SnapshotChanges:
    """From `before` to `after`, which are generations of one directory. Parts of
    `before` may be deleted already.
    """

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        data: DataDirectory,
        before: Snapshot,
        after: Snapshot,
        *,
        left_out: LeftOut = (),
        progress: Progress | None = None,
    ) -> None:
        self._database, self._data = database, data
        self._before, self._after = before, after
        self._left_out, self._progress = left_out, progress

    def counters(self) -> Iterator[DayRows]:
        return changed_rows(self._database, self._data, self._before, self._after)

    def visitors(self, key: bytes) -> Iterator[DayVisitors]:
        return changed_visitors(self._database, self._data, self._before, self._after, key)

    def visitor_counts(self) -> Iterator[DayCounts]:
        return changed_counts(self._database, self._data, self._before, self._after)

    def events(self, shipping: Shipping) -> Iterator[EventBatch]:
        source = EventSource(self._database, self._data, self._before, self._after, self._left_out)
        days, events, of_all = 0, 0, len(changed_days(source, shipping.doubtful))
        for batch in changed_events(source, shipping):
            yield batch
            days, events = days + len(batch.days), events + batch.events
            if self._progress:
                self._progress(days, of_all, events)

    @cached_property
    def gone(self) -> list[StoredPart]:
        return _missing(self._before, self._after)

    @cached_property
    def new(self) -> list[StoredPart]:
        return _missing(self._after, self._before)

    def content(self, part: StoredPart) -> bytes:
        path = self._data.part(part.kind, part.day, part.part.generation)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise PartDamaged(path, part.day, PartError("missing"), part.part.sha256) from None
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != part.part.sha256:
            raise PartDamaged(path, part.day, PartError("changed", sha256), part.part.sha256)
        return content


def _missing(of: Snapshot, among: Snapshot) -> list[StoredPart]:
    """The parts of one snapshot that another does not have."""
    others = set(stored_parts(among))
    return [each for each in stored_parts(of) if each not in others]
