"""Parts of other hosts, fetched from the store and compared with their sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from reports.plan import PartOfDay
from reports.sql.postgres import parts_statement
from shared.exit_codes import UsageError

if TYPE_CHECKING:
    from psycopg import Connection

# What one statement fetches, all of which is in memory at a time; a larger part comes
# alone.
BATCH_BYTES = 16 << 20


class StoredPart(NamedTuple):
    """A part of a host of the ledger."""

    instance: str | None
    host: str
    of: PartOfDay

    def __str__(self) -> str:
        return f"the part {self.of.kind}/{self.of.day} of generation {self.of.part.generation} of {self.host}"


class StoredPartMissing(UsageError):
    """The store does not have a part: a newer generation was published, or the store is
    damaged.
    """

    def __init__(self, part: StoredPart) -> None:
        super().__init__(part)
        self.part = part

    def __str__(self) -> str:
        return f"{self.part} is missing in the store. Type `foldlog store rebuild` on that host."


class StoredPartDamaged(StoredPartMissing):
    """The store has other bytes than the snapshot of that host says."""

    def __str__(self) -> str:
        return f"{self.part} in the store differs from its sha256. Type `foldlog store rebuild` on that host."


def fetch(connection: Connection, parts: Sequence[StoredPart]) -> Iterator[tuple[StoredPart, bytes]]:
    """The parts with their bytes, in any order. Raises StoredPartMissing and
    StoredPartDamaged.
    """
    for batch in _batches(parts):
        wanted = [
            (each.instance, each.of.kind, each.of.day, each.of.part.generation, each.of.part.sha256) for each in batch
        ]
        columns = [list(column) for column in zip(*wanted, strict=True)]
        missing = dict(enumerate(batch, 1))
        for place, body in connection.execute(parts_statement(), columns, binary=True):
            part = missing.pop(place)
            if hashlib.sha256(body).hexdigest() != part.of.part.sha256:
                raise StoredPartDamaged(part)
            yield part, body
        if missing:
            raise StoredPartMissing(next(iter(missing.values())))


def _batches(parts: Sequence[StoredPart]) -> Iterator[list[StoredPart]]:
    batch: list[StoredPart] = []
    size = 0
    for each in parts:
        size += each.of.part.bytes
        if batch and size > BATCH_BYTES:
            yield batch
            batch, size = [], each.of.part.bytes
        batch.append(each)
    if batch:
        yield batch
