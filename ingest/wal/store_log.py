"""The rows of a writer in a PostgreSQL store (FOLDLOG_DURABILITY=store): each commit to
the segment is also a row there before it is acknowledged.

It is sent before the sync of the segment, so that disk and store work at once. A row
holds the bytes of its place in the segment, so an insert without an answer is
repeated: the same row is there once. What could not be inserted was not acknowledged,
and is sent again with the next commit, so that the rows of a segment have no gap.

Everything here belongs to the writer's thread.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from ingest.wal.unavailable import Unavailable
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.stores.instance import own_instance
from shared.stores.ledger import StoreUnavailable
from shared.stores.postgres.connection import first_line, store_name
from shared.stores.postgres.log_rows import INSERT, LogRow, begin_tenure, delete_row, log_rows, renumber_rows
from shared.stores.postgres.migrate import migrated

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.pq.abc import PGconn, PGresult

CONNECT_TIMEOUT_S = 5
# A commit that takes longer is not acknowledged.
COMMIT_TIMEOUT_S = 10.0
# After a failed connect, what comes within this time is refused at once.
RECONNECT_S = 1.0
UNSENT_MAX_BYTES = 8 << 20
_STATEMENT = b"foldlog_add_lines"
_BINARY = 1


class TakenOver(Unavailable):
    """Another host continues this instance: nothing is acknowledged here any more."""

    def __init__(self) -> None:
        super().__init__("another host continues this instance")


class _Unsent(NamedTuple):
    """Bytes of a segment that have no row, as far as is known."""

    sequence: int
    first_byte: int
    lines: bytes

    @property
    def end(self) -> int:
        return self.first_byte + len(self.lines)


class StoreLog:
    """The rows of one writer."""

    def __init__(self, data: DataDirectory, writer: str, settings: Settings, log: Log) -> None:
        self._data, self._writer, self._settings, self._log = data, writer, settings, log
        self._stack = ExitStack()
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._unsent: _Unsent | None = None
        self._in_flight = False  # a row was sent, and its result not read
        self._renumbered: list[tuple[int, int]] = []
        self._withdrawn: list[_Unsent] = []
        self.is_taken_over = False

    def require(self) -> Connection:
        """The connection, through which this directory may add rows. Raises
        StoreUnavailable, TakenOver and StoreRefused.
        """
        if self.is_taken_over:
            raise TakenOver
        with suppress(StoreUnavailable):
            self._receive()
        if self._connection is None:
            if time.monotonic() < self._retry_at:
                raise StoreUnavailable(store_name(self._settings.store), "it could not be reached a moment ago")
            self._retry_at = time.monotonic() + RECONNECT_S
            self._connection = self._connect()
            self._retry_at = 0.0
        return self._connection

    def begin(self, sequence: int, first_byte: int, lines: bytes) -> None:
        """Send the row of lines that stand in a segment now, and do not wait."""
        unsent = self._unsent
        if unsent and unsent.sequence == sequence and unsent.end == first_byte:
            first_byte, lines = unsent.first_byte, unsent.lines + lines
        self._unsent = _Unsent(sequence, first_byte, lines)
        with suppress(StoreUnavailable, TakenOver):  # finish() tries again
            self._send(self._unsent)

    def finish(self, sequence: int, first_byte: int, lines: bytes) -> None:
        """Wait for the commit of the row of lines, of which the place is certain now.
        When it returns they may be acknowledged. Raises StoreUnavailable and TakenOver.
        """
        is_there = False
        with suppress(StoreUnavailable):
            is_there = self._receive() == 1
        unsent = self._unsent
        if unsent is None or (unsent.sequence, unsent.end) != (sequence, first_byte + len(lines)):
            if unsent and (unsent.sequence, sequence) not in self._renumbered:
                self._withdrawn.append(unsent)
            unsent = self._unsent = _Unsent(sequence, first_byte, lines)
            is_there = False
        if not is_there:
            self._add(unsent)
        self._unsent = None

    @property
    def has_much_unsent(self) -> bool:
        """Whether the segment should end, because too much of it has no row."""
        return self._unsent is not None and len(self._unsent.lines) > UNSENT_MAX_BYTES

    def rows_from(self, sequence: int) -> Iterator[LogRow]:
        """The rows of this writer from a segment on, but not one that is not
        acknowledged yet: its lines will stand elsewhere. Raises StoreUnavailable and
        TakenOver.
        """
        import psycopg

        if self._unsent:
            self._withdrawn.append(self._unsent)
            self._unsent = None
        self._mend(self.require())
        connection, instance = self.require(), own_instance(self._data).instance
        try:
            yield from log_rows(connection, instance, self._writer, sequence)
        except psycopg.Error as error:
            raise self._lost(first_line(error)) from error

    def renumber(self, old: int, new: int) -> None:
        """A segment was sealed under another number: its rows get it before the next
        one is added.
        """
        if old != new:
            self._renumbered.append((old, new))

    def close(self) -> None:
        self._connection = None
        self._stack.close()

    def _connect(self) -> Connection:
        settings, own = self._settings, own_instance(self._data)
        assert own.tenure is not None  # noqa: S101 - `own_instance` writes one
        with ExitStack() as stack:
            opened = migrated(
                settings.store,
                connect_timeout_s=CONNECT_TIMEOUT_S,
                statement_timeout_ms=round(COMMIT_TIMEOUT_S * 1000),
            )
            connection = stack.enter_context(opened)
            if not begin_tenure(connection, own.instance, own.tenure, socket.gethostname(), settings.timezone):
                self._take_leave()
            _require_ok(connection.pgconn.prepare(_STATEMENT, INSERT.encode()))
            self._stack = stack.pop_all()
        self._own = (str(own.instance).encode(), str(own.tenure).encode(), self._writer.encode())
        return connection

    def _take_leave(self) -> None:
        self.is_taken_over = True
        self._log.error(
            "instance_taken_over",
            writer=self._writer,
            reason="another host continues this instance, or the store has retired it; nothing is acknowledged here",
            action="stop this host; an empty directory with FOLDLOG_INSTANCE takes the instance over again",
        )
        raise TakenOver

    def _add(self, unsent: _Unsent) -> None:
        """Send a row and wait: once more, if the answer is lost or the connection was
        idle for too long.
        """
        try:
            self._exchange(unsent)
        except StoreUnavailable:
            self._exchange(unsent)

    def _exchange(self, unsent: _Unsent) -> None:
        self._send(unsent)
        if not self._receive():
            self._explain()

    def _send(self, unsent: _Unsent) -> None:
        import psycopg

        connection = self.require()
        self._mend(connection)
        place = (str(unsent.sequence).encode(), str(unsent.first_byte).encode())
        try:
            connection.pgconn.send_query_prepared(
                _STATEMENT, [*self._own, *place, unsent.lines], [0, 0, 0, 0, 0, _BINARY]
            )
            _flush(connection.pgconn, time.monotonic() + COMMIT_TIMEOUT_S)
        except (psycopg.Error, OSError) as error:
            raise self._lost(first_line(error)) from error
        self._in_flight = True

    def _receive(self) -> int:
        """How many rows the statement in flight has added; 0 if there is none."""
        import psycopg

        if not self._in_flight or self._connection is None:
            return 0
        self._in_flight = False
        try:
            return _result(self._connection.pgconn, time.monotonic() + COMMIT_TIMEOUT_S).command_tuples or 0
        except (psycopg.Error, OSError) as error:
            raise self._lost(first_line(error)) from error

    def _explain(self) -> None:
        """Nothing was added: the store has lost the row of this instance, or another
        directory continues it.
        """
        connection = self.require()
        instance = own_instance(self._data)
        known = connection.execute("SELECT 1 FROM analytics_folded WHERE instance = %s", (instance.instance,))
        if known.fetchone() is None:
            raise self._lost("it does not know this instance any more")  # connecting registers it again
        self._take_leave()

    def _mend(self, connection: Connection) -> None:
        """Rows of a displaced segment follow its lines."""
        if not (self._renumbered or self._withdrawn):
            return
        import psycopg

        instance = own_instance(self._data).instance
        try:
            for row in self._withdrawn:
                delete_row(connection, instance, self._writer, row.sequence, row.first_byte)
            self._withdrawn = []
            while self._renumbered:
                renumber_rows(connection, instance, self._writer, *self._renumbered[0])
                del self._renumbered[0]
        except psycopg.Error as error:
            raise self._lost(first_line(error)) from error

    def _lost(self, reason: str) -> StoreUnavailable:
        """Close the connection: what became of its statement is unknown."""
        connection, self._connection = self._connection, None
        self._in_flight = False
        if connection is not None:
            connection.pgconn.finish()  # not close(), which may wait
        self._stack.close()
        return StoreUnavailable(store_name(self._settings.store), reason)


def _flush(connection: PGconn, deadline: float) -> None:
    while connection.flush():
        _wait(connection, deadline, select.POLLIN | select.POLLOUT)
        connection.consume_input()


def _result(connection: PGconn, deadline: float) -> PGresult:
    """The result of the statement that was sent. Raises what the server reports, and
    TimeoutError.
    """
    while connection.is_busy():
        _wait(connection, deadline, select.POLLIN)
        connection.consume_input()
    found = _require_ok(connection.get_result())
    while connection.get_result() is not None:
        pass
    return found


def _require_ok(result: PGresult | None) -> PGresult:
    import psycopg

    if result is None or result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.OperationalError(result.error_message.decode("utf-8", "replace") if result else "no answer")
    return result


def _wait(connection: PGconn, deadline: float, events: int) -> None:
    poll = select.poll()
    poll.register(connection.socket, events)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError(f"no answer within {COMMIT_TIMEOUT_S:.0f} s")
