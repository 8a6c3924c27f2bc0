"""The connection of a reader to the store is opened once, and again when it was cut; a
store that is down fails the question.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from reports.hosts.store_link import StoreLink
from shared.stores.ledger import StoreUnavailable
from tests.builders.postgres import Server
from tests.builders.waiting import TIMEOUT_S

if TYPE_CHECKING:
    from psycopg import Connection

pytestmark = pytest.mark.component


@pytest.fixture
def link(address: str) -> Iterator[StoreLink]:
    with closing(StoreLink(address, TIMEOUT_S)) as found:
        yield found


def session(connection: Connection) -> int:
    """The process of the server that answers."""
    return connection.info.backend_pid if connection.execute("SELECT 1").fetchone() else 0


def test_questions_share_a_connection(link: StoreLink) -> None:
    assert len({link.ask(session) for _ in range(5)}) == 1


def test_limits_hold_on_the_connection(link: StoreLink) -> None:
    def limits(connection: Connection) -> list[str]:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone")
        rows = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
        return [row[0] for row in rows if row]

    assert link.ask(limits) == link.ask(limits) == ["30s", "10s", "1min", "UTC"]


@pytest.mark.parametrize("is_meanwhile", [False, True])
def test_connection_that_was_cut_is_opened_once_more(link: StoreLink, address: str, is_meanwhile: bool) -> None:
    before = link.ask(session)
    asked: list[int] = []

    def cut() -> None:
        with psycopg.connect(address, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (before,))

    def question(connection: Connection) -> int:
        asked.append(connection.info.backend_pid)
        if is_meanwhile and asked == [before]:
            cut()
        return session(connection)

    if not is_meanwhile:
        cut()
    assert link.ask(question) not in {0, before}
    assert len(asked) <= 2


def test_session_that_does_not_answer_is_given_up(address: str) -> None:
    with closing(StoreLink(address, kept_timeout_s=0.2)) as link:
        stopped = link.ask(session)
        os.kill(stopped, signal.SIGSTOP)
        try:
            assert link.ask(session) not in {0, stopped}
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_statement_that_fails_is_asked_once_and_cuts_nothing(link: StoreLink) -> None:
    before = link.ask(session)
    asked: list[str] = []

    def wrong(connection: Connection) -> None:
        asked.append("once")
        connection.execute("SET statement_timeout = 10")
        connection.execute("SELECT pg_sleep(60)")

    with pytest.raises(StoreUnavailable, match="statement timeout"):
        link.ask(wrong)
    assert (asked, link.ask(session)) == (["once"], before)


def test_store_that_is_down_fails_the_question_until_it_is_back(link: StoreLink, server: Server) -> None:
    before = link.ask(session)
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                link.ask(session)
    finally:
        server.start()
    assert link.ask(session) not in {0, before}
