"""Posts the bodies of the fuzzing process to a worker: many keep-alive connections, on
each of them one request at a time.

A body that gets no answer, or another one than the same path gave without HTTP, is
kept.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.bench.fuzz_bodies import FORMS, FRAME
from tests.bench.hostile import resident_mib

SAMPLE_EVERY = 50_000
KEPT = 20
READ_AHEAD = 2_000
SILENCE_S = 60.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ACCEPTED = re.compile(rb'\{"accepted":(\d+),')


class Sent(NamedTuple):
    """One body, and the answer that it should get (tests/bench/fuzz_target.py)."""

    form: int
    status: int
    accepted: int
    body: bytes


@dataclass
class Tally:
    """What became of the bodies. `kept` are those with something wrong, and what it
    is.
    """

    answered: int = 0
    accepted: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    connections: int = 0
    lost: int = 0
    differences: int = 0
    kept: list[tuple[str, Sent]] = field(default_factory=list)
    resident: list[tuple[int, float]] = field(default_factory=list)  # (bodies answered, MiB)
    seconds: float = 0.0

    def keep(self, what: str, sent: Sent) -> None:
        if len(self.kept) < KEPT:
            self.kept.append((what, sent))


async def post_all(pipe: Any, port: int, pid: int, connections: int, max_s: float) -> Tally:
    """Post every body of the pipe to the worker `pid`. Raises TimeoutError after
    `max_s`, or after a minute of silence.
    """
    loop = asyncio.get_running_loop()
    tally = Tally(resident=[(0, resident_mib(pid))])
    posters: list[Poster] = []

    def wake() -> None:
        for poster in posters:
            poster.send_next()

    def sample() -> None:
        if tally.answered % SAMPLE_EVERY == 0:
            tally.resident.append((tally.answered, resident_mib(pid)))

    bodies = Bodies(wake)
    posters += [Poster(port, bodies, tally, sample) for _ in range(connections)]
    started = time.perf_counter()
    await asyncio.gather(*[poster.connect() for poster in posters])
    await loop.connect_read_pipe(lambda: bodies, pipe)
    async with asyncio.timeout(max_s):
        await _until_done(bodies, posters, tally)
    tally.seconds = time.perf_counter() - started
    tally.resident.append((tally.answered, resident_mib(pid)))
    return tally


async def _until_done(bodies: Bodies, posters: list[Poster], tally: Tally) -> None:
    before, at = -1, time.monotonic()
    while not bodies.ended or bodies.waiting or any([poster.busy for poster in posters]):
        if tally.answered != before:
            before, at = tally.answered, time.monotonic()
        elif time.monotonic() - at > SILENCE_S:
            raise TimeoutError(f"nothing happened for {SILENCE_S:g} seconds after {before} answers")
        await asyncio.sleep(0.1)


class Bodies(asyncio.Protocol):
    """The pipe: frames to bodies, no more of them than are needed soon."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._buffer = b""
        self._paused = False
        self.waiting: deque[Sent] = deque()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        at = 0
        while at + FRAME.size <= len(data):
            form, status, accepted, length = FRAME.unpack_from(data, at)
            end = at + FRAME.size + length
            if end > len(data):
                break
            self.waiting.append(Sent(form, status, accepted, data[at + FRAME.size : end]))
            at = end
        self._buffer = data[at:]
        if len(self.waiting) > READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def take(self) -> Sent | None:
        if self._paused and len(self.waiting) < READ_AHEAD // 2:
            self._paused = False
            self._transport.resume_reading()
        return self.waiting.popleft() if self.waiting else None

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True


class Poster(asyncio.Protocol):
    """One connection at a time, opened again when the server closes it."""

    def __init__(self, port: int, bodies: Bodies, tally: Tally, answered: Callable[[], None]) -> None:
        self._port = port
        self._bodies = bodies
        self._tally = tally
        self._answered = answered
        self._heads = [_head(port, *form) for form in FORMS]
        self._transport: Any = None
        self._sent: Sent | None = None
        self._buffer = b""

    @property
    def busy(self) -> bool:
        return self._sent is not None

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tally.connections += 1
        self._transport = transport
        self._buffer = b""
        self.send_next()

    def send_next(self) -> None:
        if self._sent is None and self._transport is not None and (sent := self._bodies.take()) is not None:
            self._sent = sent
            self._transport.write(b"%b%d\r\n\r\n%b" % (self._heads[sent.form], len(sent.body), sent.body))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, content = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(content) < int(_LENGTH.search(head)[1]):  # type: ignore[index]  # every answer has one
            return
        self._buffer = b""
        sent, self._sent = self._sent, None
        if sent is not None:
            self._count(sent, int(head[9:12]), content)
        if b"\r\nConnection: close" in head:
            self._transport.close()
            self._transport = None  # connection_lost opens another
        self.send_next()

    def _count(self, sent: Sent, status: int, content: bytes) -> None:
        tally = self._tally
        found = _ACCEPTED.match(content)
        accepted = int(found[1]) if found else 0
        tally.answered += 1
        tally.accepted += accepted
        tally.statuses[status] += 1
        if status >= 500:
            tally.keep(f"{status} {content.decode()}", sent)
        if sent.accepted >= 0 and (status, accepted) != (sent.status, sent.accepted):
            tally.differences += 1
            tally.keep(f"{status} with {accepted} accepted, not {sent.status} with {sent.accepted}", sent)
        self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        sent, self._sent = self._sent, None
        if sent is not None:
            self._tally.lost += 1
            self._tally.keep(f"no answer: {error}", sent)
        self._again = asyncio.ensure_future(self.connect())


def _head(port: int, media_type: str, encoding: str) -> bytes:
    """The head of a request but for the length of its body."""
    named = {"Content-Type": media_type, "Content-Encoding": encoding}
    lines = [f"{name}: {value}\r\n" for name, value in named.items() if value]
    return (
        f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n"
        f"User-Agent: Mozilla/5.0\r\nAccept-Language: de\r\n{''.join(lines)}Content-Length: "
    ).encode("ascii")
