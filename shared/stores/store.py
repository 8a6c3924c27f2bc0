"""What every store can do, and what a publish gives it. One suite tests it for all of
them (tests/compactor/publishing/test_contract.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple, Protocol

from shared.disk.layout import PART_KINDS
from shared.generations.snapshot import Part, Snapshot
from shared.stores.counter_rows import CounterRow, DayRows
from shared.stores.event_batches import EventBatch, Shipping
from shared.stores.ledger import Position
from shared.stores.visitor_rows import DayCounts, DayVisitors, VisitorDigest

# The index of ids follows from the archive.
STORED_KINDS = tuple(kind for kind in PART_KINDS if kind != "ids")


class StoredPart(NamedTuple):
    """A part, and where the snapshot references it."""

    kind: str
    day: date
    part: Part


class Changes(Protocol):
    """The difference between what a store holds and a newer generation. A store asks
    for what it keeps; nothing is computed before.
    """

    def counters(self) -> Iterator[DayRows]:
        """The rows of each UTC day that differs. Raises PartDamaged."""

    def visitors(self, key: bytes) -> Iterator[DayVisitors]:
        """The visitors of each UTC day that differs, hashed with `key`. Raises
        PartDamaged.
        """

    def visitor_counts(self) -> Iterator[DayCounts]:
        """The visitors of each day of the time zone that differs. Raises
        PartDamaged.
        """

    def events(self, shipping: Shipping) -> Iterator[EventBatch]:
        """The events that differ, for a store that keeps them one by one. The files of
        a batch are there until the next is asked for. Raises PartDamaged.
        """

    @property
    def gone(self) -> Sequence[StoredPart]:
        """Parts that the newer generation does not have."""

    @property
    def new(self) -> Sequence[StoredPart]:
        """Parts that only the newer generation has."""

    def content(self, part: StoredPart) -> bytes:
        """The bytes of a new part, which match its sha256. Raises PartDamaged."""


class Store(Protocol):
    """Where generations of a data directory are published. `str()` names it in
    messages. All raise StoreUnavailable and StoreRefused.
    """

    def position(self) -> Position | None:
        """What the store holds of this instance; None while that is nothing."""

    def publish(self, base: Position | None, after: Position, content: bytes, changes: Changes) -> None:
        """Make the store hold `after`, of which `content` is the snapshot file, where
        it holds `base` now: in one transaction.
        """

    def confirm(self, held: Position) -> None:
        """Note that what the store holds was the newest just now, where other hosts
        ask: a host that has nothing new is not behind.
        """

    def empty(self) -> None:
        """Forget everything of this instance."""

    def days(self) -> set[date]:
        """The UTC days that have rows of counters."""

    def rows(self, utc_day: date) -> set[CounterRow]:
        """The rows of counters of a UTC day."""

    def parts(self) -> set[StoredPart] | None:
        """The parts, each with the sha256 of the bytes that the store has. None: this
        kind of store has none.
        """

    def visitor_key(self) -> bytes | None:
        """What visitors are hashed with. None: this kind of store has none."""

    def visitors(self, utc_day: date) -> set[VisitorDigest]:
        """What the rows of visitors of a UTC day say."""


class EventStore(Store, Protocol):
    """A store that keeps events one by one."""

    def write_held_events(self, utc_day: date, to: Path) -> None:
        """Write a line for each event that counts on this day or on days near it,
        whichever host it is of: `h`, its time in ms, the bytes of its texts, and
        whether it is of this instance and day.
        """

    def shipping(self) -> Shipping:
        """How events of this instance are told apart."""


def stored_parts(snapshot: Snapshot) -> Iterable[StoredPart]:
    """The parts of a snapshot that a store has."""
    for day, kept in snapshot.days.items():
        for kind in STORED_KINDS:
            for part in getattr(kept, kind):
                yield StoredPart(kind, day, part)
