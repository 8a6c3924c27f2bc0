"""A reader's connection to the store, kept open between questions: opening one costs
more than a small report.

A kept connection may have been cut since, or lead to a server that is gone. Then the
question is asked once more over a new one, so that only a store that is down fails it.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from shared.stores.postgres.connection import open_connection, store_errors

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
T = TypeVar("T")


class StoreLink:
    """Opens its connection for the first question. One of before that does not answer
    within `kept_timeout_s` is given up for a new one.
    """

    def __init__(self, address: str, kept_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        self._address = address
        self._kept_timeout_s = kept_timeout_s
        self._connection: Connection | None = None

    def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a question, which may be asked twice and leaves no transaction
        open. Raises DriverMissing and StoreUnavailable.
        """
        with store_errors(self._address):
            from psycopg import OperationalError  # here, as in connection.py

            if self._connection is not None:
                try:
                    if _answers(self._connection, self._kept_timeout_s):
                        return question(self._connection)
                    self._connection.close()
                except OperationalError:
                    if not self._connection.closed:
                        raise
            self._connection = open_connection(self._address, CONNECT_TIMEOUT_S, STATEMENT_TIMEOUT_MS)
            return question(self._connection)

    def close(self) -> None:
        """End the connection; another question opens a new one."""
        if self._connection is not None:
            self._connection.close()


def _answers(connection: Connection, timeout_s: float) -> bool:
    """Whether the server answers an empty statement: one that stopped, or a network
    that swallows everything, never does.
    """
    server = connection.pgconn
    server.send_query(b"")
    while server.is_busy():
        if not select.select([server.socket], [], [], timeout_s)[0]:
            return False
        server.consume_input()
    while server.get_result():
        pass
    return not connection.closed
