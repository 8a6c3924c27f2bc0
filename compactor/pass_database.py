"""The database that the passes of a process share: opening one is a tenth of a
small pass.

Each pass has a connection of its own, whose temporary tables end with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.duckdb_engine import connect, forget_files

if TYPE_CHECKING:
    import duckdb

# What passes freed goes back to the system only with their database. So much may stay
# since it was opened.
LEFT_MAX_BYTES = 32 << 20


class _Kept(NamedTuple):
    """A database without tables, its limit, the directory for what exceeds it, and the
    resident memory of the process when it was opened.
    """

    memory_bytes: int
    spill: Path
    database: duckdb.DuckDBPyConnection
    resident_bytes: int


_kept: list[_Kept] = []
_of_parent: list[_Kept] = []


def _leave_to_parent() -> None:
    """In a forked process: the threads of the database did not come along, so it can
    neither be used nor closed here.
    """
    _of_parent.extend(_kept)
    _kept.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def pass_database(memory_bytes: int, spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection without tables. Its database is kept for the next pass of this
    process, unless the block raises or much memory is left behind.
    """
    used = _taken(memory_bytes, spill) or _opened(memory_bytes, spill)
    try:
        with closing(used.database.cursor()) as database:
            yield database
    except BaseException:
        used.database.close()
        raise
    if _kept or _resident_bytes() - used.resident_bytes > LEFT_MAX_BYTES:
        used.database.close()
    else:
        _kept.append(used)


def _taken(memory_bytes: int, spill: Path) -> _Kept | None:
    """The kept database, if it is such a one. Until it is kept again no
    other pass has it.
    """
    with suppress(IndexError):
        kept = _kept.pop()
        if kept[:2] == (memory_bytes, spill):
            return kept
        kept.database.close()
    return None


def _opened(memory_bytes: int, spill: Path) -> _Kept:
    database = connect(memory_bytes, 1, spill)
    forget_files(database)
    return _Kept(memory_bytes, spill, database, _resident_bytes())


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
