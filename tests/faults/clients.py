"""Clients that send events over HTTP until they are acknowledged, and keep a ledger of
what they sent and what was acknowledged.

Each is a thread with one keep-alive connection. It sends a batch again when no answer
came, or one with Retry-After, as a client of a real site does; an id is
acknowledged only after a 200 that accepted all of its batch.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.builders.server import Server, keyed
from tests.faults.oracle import Ledger

ANSWER_TIMEOUT_S = 60.0
JOIN_TIMEOUT_S = 60.0
RETRY_S = 0.02
# Try again: busy, stopping, unavailable; no space left.
PATIENCE = frozenset({503, 507})


class Batch(NamedTuple):
    """The ids of a request and its body."""

    ids: list[str]
    body: bytes


def batch_of(events: Sequence[dict[str, Any]]) -> Batch:
    """A request with these events, each of which names its id."""
    body = json.dumps({"events": events, "consent": "granted"}, separators=(",", ":")).encode("ascii")
    return Batch([event["id"] for event in events], body)


def new_events(name: str, size: int, twice_every: int = 3) -> Iterator[Batch]:
    """Batches of events with new ids, without end. Every few of them come once more,
    though they were acknowledged.
    """
    number = 0
    while True:
        number += 1
        ids = (f"{name}-{number:07d}-{part:03d}" for part in range(size))
        batch = batch_of([{"name": "pageview", "id": id_, "visitor": "v-faults"} for id_ in ids])
        yield batch
        if number % twice_every == 0:
            yield batch


class Client(threading.Thread):
    """Sends batches, each until it is acknowledged, until there are no more or it is
    asked to stop.
    """

    def __init__(self, port: int, directory: Path, name: str, batches: Iterable[Batch], pause_s: float = 0.0) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self.sends = 0  # events in requests that went out, those sent again included
        self.acknowledged = 0  # ids in requests that were acknowledged; an id may be in several
        self.unanswered = 0  # requests without an answer
        self.refused = 0  # requests that were asked to come again
        self.unexpected: list[str] = []
        self._port = port
        self._ledger = Ledger(directory, name)
        self._batches = batches
        self._pause_s = pause_s
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        try:
            for batch in self._batches:
                if self.stopping.is_set():
                    break
                self._ledger.intend(batch.ids)
                if self._deliver(batch):
                    self._ledger.acknowledge(batch.ids)
                    self.acknowledged += len(batch.ids)
                if self._pause_s:
                    self.stopping.wait(self._pause_s)
        finally:
            self._hang_up()
            self._ledger.close()

    def _deliver(self, batch: Batch) -> bool:
        """Send a batch until it is acknowledged. False when asked to stop before, or
        when the answer makes no sense.
        """
        while not self.stopping.is_set():
            try:
                status, answer = self._post(batch)
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                self._hang_up()
                time.sleep(RETRY_S)
                continue
            if status == 200 and json.loads(answer) == {"accepted": len(batch.ids), "rejected": []}:
                return True
            if status not in PATIENCE:
                self.unexpected.append(f"{status} {answer[:200]!r}")
                return False
            self.refused += 1
            time.sleep(RETRY_S)
        return False

    def _post(self, batch: Batch) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_TIMEOUT_S)
        self._connection.request("POST", "/v1/events", batch.body, keyed())
        self.sends += len(batch.ids)
        response = self._connection.getresponse()
        answer = response.read()
        if response.will_close:
            self._hang_up()
        return response.status, answer

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def sending(clients: Sequence[Client]) -> Iterator[Sequence[Client]]:
    """Clients at work; stopped and with their ledgers closed when the block ends."""
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stopping.set()
        wait_for(clients, JOIN_TIMEOUT_S)


def wait_for(clients: Sequence[Client], timeout_s: float) -> None:
    """Until all have sent everything. Raises TimeoutError when one has not."""
    deadline = time.monotonic() + timeout_s
    for client in clients:
        client.join(max(0.0, deadline - time.monotonic()))
        if client.is_alive():
            raise TimeoutError(f"{client.name} is still sending after {timeout_s:g} s")


def unexpected(clients: Iterable[Client]) -> list[str]:
    """Answers that no client should get."""
    return [f"{client.name} was answered {answer}" for client in clients for answer in client.unexpected]


def fleet(server: Server, directory: Path, count: int, size: int, pause_s: float = 0.0) -> list[Client]:
    """Clients that send new events for as long as they are let."""
    names = [f"client{number}" for number in range(count)]
    return [Client(server.port, directory, name, new_events(name, size), pause_s) for name in names]
