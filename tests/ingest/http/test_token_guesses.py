"""Guesses of tokens and keys are slowed per address; a right one is not kept out."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.http.problem import Problem
from ingest.http.token_guesses import FREE, INTERVAL_S, MANY, WAITING_MAX, TokenGuesses
from shared.rate_table import make_table
from shared.tokens import create_token
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, read_answer
from tests.builders.worker import Worker

HERE, ELSEWHERE = "203.0.113.7", "203.0.113.8"
RIGHT, WRONG = b"right", b"wrong"


class Clock:
    """Nanoseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def guess(guesses: TokenGuesses, address: str, times: int) -> Counter[str]:
    """What came of wrong secrets: whether they waited, were refused, or neither."""
    found: Counter[str] = Counter()
    for number in range(times):
        found[await outcome(guesses, address, b"%d" % number, is_right=False)] += 1
    return found


async def outcome(guesses: TokenGuesses, address: str, secret: bytes, *, is_right: bool) -> str:
    """By whether it lets others run, and not by a clock: a busy machine may take longer
    than DELAY_S for anything.
    """
    admitted = asyncio.ensure_future(guesses.admit(address, secret, is_right=is_right))
    await asyncio.sleep(0)
    has_waited = not admitted.done()
    try:
        await admitted
    except Problem as problem:
        assert (problem.status, problem.code, problem.retry_after_s) == (429, "guesses", INTERVAL_S)
        return "refused"
    return "waited" if has_waited else "at once"


DELAY_S = 0.01


async def test_first_wrong_secrets_are_free_then_they_wait_then_they_are_refused(clock: Clock) -> None:
    guesses = TokenGuesses(clock=clock, delay_s=DELAY_S)
    assert await guess(guesses, HERE, 1000) == {"at once": FREE, "waited": MANY - FREE + 1, "refused": 999 - MANY}


async def test_right_secret_of_another_address_never_waits(clock: Clock) -> None:
    guesses = TokenGuesses(clock=clock, delay_s=DELAY_S)
    await guess(guesses, HERE, 200)
    assert await outcome(guesses, ELSEWHERE, RIGHT, is_right=True) == "at once"


async def test_right_secret_of_the_same_address_waits_once(clock: Clock) -> None:
    guesses = TokenGuesses(clock=clock, delay_s=DELAY_S)
    await guess(guesses, HERE, 200)
    clock.now += int(INTERVAL_S * 1e9)
    assert await outcome(guesses, HERE, RIGHT, is_right=True) == "waited"
    await guess(guesses, HERE, 200)
    assert await outcome(guesses, HERE, RIGHT, is_right=True) == "at once"
    assert await outcome(guesses, HERE, b"another", is_right=True) == "refused"


async def test_answers_do_not_tell_a_right_secret_from_a_wrong_one(clock: Clock) -> None:
    guesses = TokenGuesses(clock=clock, delay_s=DELAY_S)
    await guess(guesses, HERE, FREE)
    assert await outcome(guesses, HERE, RIGHT, is_right=True) == "waited"
    await guess(guesses, HERE, MANY - FREE + 1)
    assert await outcome(guesses, HERE, b"another", is_right=True) == "refused"


async def test_only_some_wait_at_the_same_time(clock: Clock) -> None:
    guesses = TokenGuesses(clock=clock, delay_s=DELAY_S)
    await guess(guesses, HERE, FREE)
    asked = [outcome(guesses, HERE, b"%d" % number, is_right=False) for number in range(50)]
    assert Counter(await asyncio.gather(*asked)) == {"waited": WAITING_MAX, "refused": 50 - WAITING_MAX}


async def test_guesses_are_forgotten(clock: Clock) -> None:
    guesses = TokenGuesses(clock=clock, delay_s=DELAY_S)
    await guess(guesses, HERE, 200)
    clock.now += 120 * 10**9
    assert await outcome(guesses, HERE, WRONG, is_right=False) == "at once"


async def test_workers_count_together(clock: Clock) -> None:
    table = make_table()
    first, second = (TokenGuesses(table, clock, DELAY_S) for _ in range(2))
    await guess(first, HERE, FREE)
    assert await outcome(second, HERE, WRONG, is_right=False) == "waited"


async def test_addresses_of_one_customer_are_slowed_together(clock: Clock) -> None:
    """One /48 has 65,536 networks, and not as many times the guesses."""
    guesses = TokenGuesses(clock=clock, delay_s=0)
    for number in range(64 * FREE):
        await guesses.admit(f"2001:db8:7:{number:x}::1", WRONG, is_right=False)
    guesses = guesses_that_wait(guesses)
    assert await outcome(guesses, "2001:db8:7:ffff::1", WRONG, is_right=False) == "waited"
    assert await outcome(guesses, "2001:db8:8:ffff::1", WRONG, is_right=False) == "at once"


async def test_addresses_of_one_network_have_no_turn_each(clock: Clock) -> None:
    guesses = TokenGuesses(clock=clock, delay_s=0)
    found: Counter[str] = Counter()
    for number in range(1_000):
        found[await outcome(guesses, f"2001:db8:7:1::{number:x}", WRONG, is_right=False)] += 1
    assert found["refused"] == 999 - MANY
    assert await outcome(guesses, "2001:db8:7:2::1", RIGHT, is_right=True) == "at once"


async def test_right_secret_that_one_worker_saw_is_slowed_by_none(clock: Clock) -> None:
    table = make_table()
    first, second = (TokenGuesses(table, clock, DELAY_S) for _ in range(2))
    assert await outcome(first, HERE, RIGHT, is_right=True) == "at once"
    await guess(first, HERE, 200)
    assert await outcome(second, HERE, b"another", is_right=True) == "waited"
    assert await outcome(second, HERE, b"a third", is_right=True) == "refused"
    assert await outcome(second, HERE, RIGHT, is_right=True) == "at once"
    assert await outcome(second, ELSEWHERE, RIGHT, is_right=True) == "at once"
    assert await outcome(second, HERE, RIGHT, is_right=False) == "refused"  # it was revoked


async def test_right_secret_that_is_in_use_stays_known_to_all_workers(clock: Clock) -> None:
    table = make_table()
    first, second = (TokenGuesses(table, clock, DELAY_S) for _ in range(2))
    for _ in range(20):
        assert await outcome(first, HERE, RIGHT, is_right=True) == "at once"
        clock.now += 30 * 10**9
    await guess(first, HERE, 200)
    assert await outcome(second, HERE, RIGHT, is_right=True) == "at once"


def guesses_that_wait(guesses: TokenGuesses) -> TokenGuesses:
    guesses._delay_s = DELAY_S
    return guesses


async def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.http.token_guesses.KNOWN_MAX", 10)
    guesses = TokenGuesses(clock=clock, delay_s=0)
    for number in range(100):
        await guesses.admit(f"198.51.100.{number}", RIGHT, is_right=True)
    assert len(guesses._known) == 10


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("guesses")) as running:
        yield running


# Each place where a secret is looked at.
ASKED = {
    "status": "GET /admin/api/status",
    "report": "GET /admin/api/report",
    "export": "GET /admin/api/export",
    "snapshot": "GET /admin/api/snapshot",
    "fold": "POST /admin/api/fold",
    "erase": "DELETE /admin/api/visitors/x",
    "events": "POST /v1/events",
}


def ask(worker: Worker, source: str, asked: str, secret: str) -> Answer:
    head = f"{asked} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: 2\r\n"
    with socket.create_connection(("127.0.0.1", worker.port), 60, (source, 0)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n{{}}".encode())
        return read_answer(connection)


@pytest.mark.parametrize("number", range(len(ASKED)), ids=list(ASKED))
def test_every_place_that_looks_at_a_secret_counts_guesses(worker: Worker, number: int) -> None:
    asked, guesser = list(ASKED.values())[number], f"127.0.7.{number + 1}"
    worker.context.token_guesses._delay_s = 0
    statuses = Counter(ask(worker, guesser, asked, f"wrong-{each}").status for each in range(MANY + 20))
    assert set(statuses) == {401, 429}
    assert statuses[401] <= MANY + 5
    secret = INGEST_KEY if asked.endswith("events") else ADMIN_TOKEN
    assert ask(worker, "127.0.8.1", "GET /admin/api/status", ADMIN_TOKEN).status == 200
    started = time.monotonic()
    while (answer := ask(worker, guesser, "POST /v1/events", secret)).status == 429:
        assert time.monotonic() - started < 60
        time.sleep(0.2)
    assert answer.code in {"batch_invalid", "consent"}  # the secret was right


def test_ordinary_pages_at_the_address_of_a_guesser_are_not_slowed(worker: Worker, tmp_path: Path) -> None:
    worker.context.token_guesses._delay_s = 0
    _, secret = create_token(worker.data, "read")
    assert ask(worker, "127.0.9.1", "GET /admin/api/status", secret).status == 200
    for number in range(MANY + 5):
        ask(worker, "127.0.9.1", "GET /admin/api/status", f"wrong-{number}")
    assert ask(worker, "127.0.9.1", "GET /admin/api/status", secret).status == 200
    with socket.create_connection(("127.0.0.1", worker.port), 60, ("127.0.9.1", 0)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).status == 200
