"""What every step of a pass works with, as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from compactor.lock import CompactorLock
from compactor.pass_database import pass_database
from compactor.stop import interruptible
from compactor.threads import fold_threads
from shared.disk.durable import scratch
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import set_threads
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import rfc3339

if TYPE_CHECKING:
    import duckdb


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
        segments needs none. Has the threads that ingest leaves now.
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
        def opened() -> duckdb.DuckDBPyConnection:
            database = stack.enter_context(pass_database(settings.fold_memory, directory))
            return stack.enter_context(interruptible(database))

        threads = 0

        def open_database() -> duckdb.DuckDBPyConnection:
            nonlocal threads
            wanted = fold_threads(data, settings)
            if wanted != threads:
                set_threads(opened(), wanted)
                threads = wanted
            return opened()

        yield PassContext(data, settings, log, lock, now_ms, directory, open_database)
