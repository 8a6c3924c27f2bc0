"""What every step of a pass works with, as one value."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from compactor.lock import CompactorLock
from compactor.stop import interruptible
from shared.disk.durable import scratch
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import rfc3339

if TYPE_CHECKING:
    import duckdb

# One core is left to the workers: with every core folding, the p99 of ingest was eight
# times its value at rest, with one core fewer 1.5 times. Each thread wants its share of
# FOLDLOG_FOLD_MEMORY, so there are at most four.
THREADS = max(1, min(4, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True)
class PassContext:
    """One pass over a data directory, or one rebuild, erasure or retention run.

    `now_ms` is the one clock reading of the run, `scratch` an empty directory for
    working files. It and the database last as long as the run.
    """

    data: DataDirectory
    settings: Settings
    log: Log
    lock: CompactorLock
    now_ms: int
    scratch: Path
    open_database: Callable[[], duckdb.DuckDBPyConnection]

    @property
    def database(self) -> duckdb.DuckDBPyConnection:
        """Holds the working tables. Opened at the first use: a pass without new
        segments needs none.
        """
        return self.open_database()

    @property
    def now(self) -> str:
        return rfc3339(self.now_ms)


@contextmanager
def pass_context(
    data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int
) -> Iterator[PassContext]:
    """A context with an empty scratch directory and database, both removed
    afterwards.
    """
    with scratch(data) as directory, ExitStack() as stack:

        @cache
        def open_database() -> duckdb.DuckDBPyConnection:
            database = stack.enter_context(closing(connect(settings.fold_memory, THREADS, directory)))
            return stack.enter_context(interruptible(database))

        yield PassContext(data, settings, log, lock, now_ms, directory, open_database)
