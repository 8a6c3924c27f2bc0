"""How many threads a fold uses: all cores while no worker appends, else one fewer.

With every core folding, the p99 of ingest was eight times its value at rest, with one
core fewer 1.5 times.
"""

from __future__ import annotations

import os
import time

from shared.disk.layout import DataDirectory
from shared.segments.sealed import active_segments
from shared.settings import Settings

# Each thread wants its share of FOLDLOG_FOLD_MEMORY.
THREADS_MAX = 4
MEMORY_OF_A_THREAD = 128 << 20
# A worker that appended something within this time takes events.
BUSY_S = 5.0


def fold_threads(data: DataDirectory, settings: Settings) -> int:
    """Asked between the statements of a pass, since a burst may begin at any time."""
    cores = len(os.sched_getaffinity(0)) - takes_events(data)
    return max(1, min(THREADS_MAX, cores, settings.fold_memory // MEMORY_OF_A_THREAD))


def takes_events(data: DataDirectory) -> bool:
    """Whether a worker has appended an event in the last seconds."""
    oldest = time.time() - BUSY_S
    for path in active_segments(data).values():
        try:
            found = path.stat()
        except FileNotFoundError:  # sealed meanwhile
            return True
        if found.st_size and found.st_mtime >= oldest:
            return True
    return False
