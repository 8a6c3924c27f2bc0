"""What a store says of a host: which generation of it the store holds, and why a store
may not take another one.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.exit_codes import TemporaryFailure, UsageError
from shared.generations.snapshot import Snapshot

NO_CLAIMS = UUID(int=0)


class Position(NamedTuple):
    """The generation that a store holds of an instance. `sha256` is that of the
    snapshot file, `snapshot` its content. An instance that has only claimed ids holds
    generation 0 and no sha256.

    In a store of several instances: `epoch`, and the names of its first and its last
    block of claims.
    """

    instance: str
    generation: int
    sha256: str
    snapshot: Snapshot
    epoch: int = 1
    epoch_name: UUID = NO_CLAIMS
    claims: UUID = NO_CLAIMS

    @property
    def identity(self) -> tuple[str, int, str, int, UUID, UUID]:
        """What a publish compares: all but the content."""
        return self.instance, self.generation, self.sha256, self.epoch, self.epoch_name, self.claims


class HeldInstance(NamedTuple):
    """An instance of a store: `generation` 0 while it has published nothing."""

    instance: str
    host: str
    generation: int
    as_of: datetime | None
    retired_at: datetime | None


class StoreUnavailable(TemporaryFailure):
    """The store is down, locked or full, or its disk fails. The next publish repeats
    the work.
    """

    def __init__(self, store: str, error: str) -> None:
        super().__init__(store, error)
        self.store, self.error = store, error

    def __str__(self) -> str:
        return f"{self.store} could not be read or written: {self.error}"


class StoreRefused(UsageError):
    """The store holds something else than this directory published, or is no store of
    this Foldlog: `reason` says which, as the rest of a sentence.
    """

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(store, reason)
        self.store, self.reason = store, reason

    def __str__(self) -> str:
        return f"{self.store} {self.reason}"
