"""A client that takes its answer too slowly is cut, by rate; a slow line is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ingest.http.send_progress import SEND_MIN_RATE, SEND_WINDOW_S, STILL_S, SendProgress

# An answer that fits into no buffer of the system.
ANSWER = bytes(1 << 20)


class Line:
    """The server's side of a connection, as its transport shows it, and a client that
    takes as many bytes as it is told to.
    """

    def __init__(self) -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            self.client = socket.socket()
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            self.client.connect(listening.getsockname())
            self.server, _ = listening.accept()
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.server.setblocking(False)
        self.unsent = len(ANSWER)
        self.now = 1000.0
        self.progress = SendProgress()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _name: str) -> socket.socket:
        return self.server

    def second(self, taken: int) -> bool:
        """Whether the server cuts the client, after a second in which it took so many
        bytes.
        """
        left = taken
        while left:
            self.send()
            left -= len(self.client.recv(left))
        self.send()
        self.now += 1.0
        return self.progress.has_stalled(self, self.now)

    def send(self) -> None:
        with suppress(BlockingIOError):
            while self.unsent:
                self.unsent -= self.server.send(ANSWER[: min(self.unsent, 1000)])


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.client.close()
    made.server.close()


def seconds_until_cut(line: Line, taken: list[int], most: int = 200) -> int | None:
    """After how many seconds it is cut; the client takes these numbers of bytes in
    turns.
    """
    for second in range(most):
        if line.second(taken[second % len(taken)]):
            return second
    return None


def test_client_that_takes_nothing_is_cut(line: Line) -> None:
    cut = seconds_until_cut(line, [0])
    assert cut is not None
    assert STILL_S - 1 <= cut <= STILL_S + 2


SLOW = {
    "a byte every nine seconds": [1, *[0] * 8],
    "a byte a second": [1],
    "a hundred bytes a second": [100],
    "half of what it must": [SEND_MIN_RATE // 2],
    "a burst, and nothing for long": [2 * SEND_MIN_RATE, *[0] * 17],
}


@pytest.mark.parametrize("taken", SLOW.values(), ids=SLOW)
def test_client_that_moves_too_slowly_is_cut(line: Line, taken: list[int]) -> None:
    cut = seconds_until_cut(line, taken)
    assert cut is not None
    assert cut <= 2 * SEND_WINDOW_S


BAD_LINES = {
    "two kilobytes a second": [2048],
    "a train in and out of tunnels": [*[8192] * 5, *[0] * 10],
    "twice what it must, every ten seconds": [20 * SEND_MIN_RATE, *[0] * 9],
}


@pytest.mark.parametrize("taken", BAD_LINES.values(), ids=BAD_LINES)
def test_client_on_a_bad_line_is_not_cut(line: Line, taken: list[int]) -> None:
    assert seconds_until_cut(line, taken) is None


def test_next_answer_is_timed_by_itself(line: Line) -> None:
    for _ in range(15):
        assert not line.second(0)
    unsent, line.unsent = line.unsent, 0
    assert not line.progress.has_stalled(line, line.now)
    line.unsent = unsent
    for _ in range(15):
        assert not line.second(0)
