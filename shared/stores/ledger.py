"""What a store says of a host: which generation of it the store holds, and why a store
may not take another one.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.exit_codes import TemporaryFailure, UsageError
from shared.generations.snapshot import Snapshot


class Position(NamedTuple):
    """The generation that a store holds of an instance. `sha256` is that of the
    snapshot file, `snapshot` its content.
    """

    instance: str
    generation: int
    sha256: str
    snapshot: Snapshot


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
