"""Ending a pass that runs: it ends by itself between two steps, and what its database
does is interrupted.

A pass that ends before its commit has changed nothing that is read (P5).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.exit_codes import TemporaryFailure

if TYPE_CHECKING:
    import duckdb

INTERRUPT_AGAIN_S = 0.1

_databases: set[duckdb.DuckDBPyConnection] = set()
_databases_lock = threading.Lock()


class PassStopped(TemporaryFailure):
    """The process is asked to end. Nothing was published."""

    def __str__(self) -> str:
        return "the process was asked to end during a pass; the next one starts over"


class PassTooLong(Exception):
    """A pass took longer than what it folds can take: it would not end by itself."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it did not end within {seconds:.0f} s")


class Stop:
    """Whether the process is asked to end. At first a running pass may end by itself;
    once it is urgent, it ends where it is.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._urgent = threading.Event()

    def ask(self) -> None:
        self._asked.set()

    def hurry(self) -> None:
        """What databases execute must be interrupted as well, as long as it takes."""
        self._asked.set()
        self._urgent.set()
        interrupt_databases()

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    @property
    def is_urgent(self) -> bool:
        return self._urgent.is_set()

    def check_before_pass(self) -> None:
        """Raises PassStopped."""
        if self.is_asked:
            raise PassStopped

    def check_within_pass(self) -> None:
        """Between two steps of a pass. Raises PassStopped."""
        if self.is_urgent:
            raise PassStopped


@contextmanager
def interruptible(database: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """While the block runs, `interrupt_databases` reaches this database."""
    with _databases_lock:
        _databases.add(database)
    try:
        yield database
    finally:
        with _databases_lock:
            _databases.discard(database)


def interrupt_databases() -> None:
    """Interrupt the statements that passes of this process are executing. A statement
    that begins right after is not: call it again until the pass has ended.
    """
    with _databases_lock:
        for database in _databases:
            database.interrupt()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the databases once the block has run for so long. Raises PassTooLong
    then.
    """
    ended = threading.Event()
    reached = threading.Event()

    def watch() -> None:
        if ended.wait(seconds):
            return
        reached.set()
        while not ended.wait(INTERRUPT_AGAIN_S):
            interrupt_databases()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    except Exception as error:
        if reached.is_set():
            raise PassTooLong(seconds) from error
        raise
    finally:
        ended.set()
        thread.join()
