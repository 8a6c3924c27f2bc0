"""What every step of a pass works with, as one value."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from compactor.lock import CompactorLock
from shared.disk.durable import scratch
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import rfc3339

# One core is left to the workers: with every core folding, the p99 of ingest was eight
# times its value at rest, with one core fewer 1.5 times. Each thread wants its share of
# FOLDLOG_FOLD_MEMORY, so there are at most four.
THREADS = max(1, min(4, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True)
class PassContext:
    """One pass over a data directory, or one rebuild, erasure or retention run.

    `now_ms` is the one clock reading of the run. `database` holds the working tables;
    `scratch` is an empty directory for working files. Both last as long as the run.
    """

    data: DataDirectory
    settings: Settings
    log: Log
    lock: CompactorLock
    now_ms: int
    database: duckdb.DuckDBPyConnection
    scratch: Path

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
    with scratch(data) as directory, closing(connect(settings.fold_memory, THREADS, directory)) as database:
        yield PassContext(data, settings, log, lock, now_ms, database, directory)
