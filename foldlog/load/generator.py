"""An open-loop load generator in a process of its own: `python -m
foldlog.load.generator` reads a Plan and prints an Outcome.

A request is sent when it is due, even if earlier ones are unanswered, and its latency
counts from when it was due. A server that stalls for a second is therefore charged with
all requests of that second, and not with a single one.
"""

from __future__ import annotations

import gc
import math
import re
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence

import msgspec
import orjson

from foldlog.load.plan import Outcome, Plan, Slice, arrivals
from foldlog.load.request_stream import make_requests

CONNECT_TIMEOUT_S = 5.0
# The server closes a connection after 15 s of silence; a request sent at that moment
# would be lost.
IDLE_S = 8.0
SENDS_PER_POLL = 32
PERCENTILES = (50.0, 90.0, 99.0, 99.9)

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class _Connection:
    """A keep-alive connection with at most one request in flight, which was `due` at
    that second of the run.
    """

    __slots__ = ("answer", "blocked", "busy", "due", "socket", "unsent", "used_at")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, CONNECT_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.answer = b""
        self.due = 0.0
        self.unsent = b""
        self.busy = False
        self.blocked = False
        self.used_at = time.perf_counter()


class Generator:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._address = (plan.host, plan.port)
        self._requests = make_requests(plan)
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._in_flight = 0
        self._statuses: Counter[int] = Counter()
        self._codes: Counter[str] = Counter()
        self._acknowledged = 0
        self._unanswered = 0
        self._waited = 0
        self._late = array("d")
        self._latency = [array("d") for _ in plan.rates]
        self._slice_s = plan.seconds / len(plan.rates)
        self._start = 0.0

    def run(self) -> Outcome:
        """Send all requests when they are due, then wait up to `answer_s` for the last
        answers.
        """
        cpu = time.process_time()
        for _ in range(self._plan.connections):
            self._idle.append(self._connect())
        due = list(arrivals(self._plan))
        gc.disable()
        self._start = time.perf_counter() + self._plan.warm_up_s
        end = self._send_all(due)
        while self._in_flight or self._waiting:
            if time.perf_counter() - self._start > end + self._plan.answer_s:
                self._unanswered += self._in_flight
                break
            self._poll_connections(0.01)
        gc.enable()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._poll.close()
        return self._outcome(len(due), time.process_time() - cpu)

    def _send_all(self, due: Sequence[float]) -> float:
        """Returns when the last request was due."""
        start, late = self._start, self._late
        for number, at in enumerate(due, 1):
            while (now := time.perf_counter() - start) < at:
                self._poll_connections(at - now)
            if at >= 0:
                late.append(now - at)
            if self._idle:
                self._send(self._idle.popleft(), at)
            else:
                self._waited += 1
                self._waiting.append(at)
            if not number % SENDS_PER_POLL:
                self._poll_connections(0)
        return due[-1] if due else 0.0

    def _poll_connections(self, wait_s: float) -> None:
        """Handle what has arrived; if nothing has, wait up to `wait_s`."""
        if wait_s > 0:  # select waits to the microsecond, epoll to the millisecond
            select.select([self._poll.fileno()], [], [], wait_s)
        for descriptor, events in self._poll.poll(0):
            connection = self._connections[descriptor]
            if events & select.EPOLLOUT:
                self._write(connection)
            if events & ~select.EPOLLOUT:
                self._read(connection)

    def _connect(self) -> _Connection:
        connection = _Connection(self._address)
        self._connections[connection.socket.fileno()] = connection
        self._poll.register(connection.socket.fileno(), select.EPOLLIN)
        return connection

    def _drop(self, connection: _Connection) -> None:
        self._poll.unregister(connection.socket.fileno())
        del self._connections[connection.socket.fileno()]
        connection.socket.close()

    def _send(self, connection: _Connection, due: float) -> None:
        if time.perf_counter() - connection.used_at > IDLE_S:
            self._drop(connection)
            connection = self._connect()
        connection.due = due
        connection.busy = True
        self._in_flight += 1
        connection.unsent = next(self._requests)
        self._write(connection)

    def _write(self, connection: _Connection) -> None:
        try:
            connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._lost(connection)
            return
        if bool(connection.unsent) != connection.blocked:
            connection.blocked = not connection.blocked
            wanted = select.EPOLLIN | (select.EPOLLOUT if connection.blocked else 0)
            self._poll.modify(connection.socket.fileno(), wanted)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not connection.busy:  # without a request, only a close can arrive
            self._lost(connection)
            return
        connection.answer += data
        head, separator, body = connection.answer.partition(b"\r\n\r\n")
        if separator and len(body) >= _body_length(head):
            self._answered(connection, head, body)

    def _answered(self, connection: _Connection, head: bytes, body: bytes) -> None:
        now = time.perf_counter()
        if connection.due >= 0:
            self._latency[min(int(connection.due / self._slice_s), len(self._latency) - 1)].append(
                now - self._start - connection.due
            )
        status = int(head[9:12])
        self._statuses[status] += 1
        answer = orjson.loads(body)
        self._acknowledged += answer.get("accepted", 0)
        if status >= 300:
            self._codes[answer.get("code") or answer["rejected"][0]["code"]] += 1
        self._in_flight -= 1
        connection.answer = b""
        connection.busy = False
        connection.used_at = now
        if b"\r\nconnection: close" in head.lower():
            self._drop(connection)
            connection = self._connect()
        self._free(connection)

    def _free(self, connection: _Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _lost(self, connection: _Connection) -> None:
        """The server closed the connection. The events of a request in flight may be
        stored or not.
        """
        self._drop(connection)
        if connection.busy:
            self._in_flight -= 1
            self._unanswered += 1
        else:
            self._idle.remove(connection)
        self._free(self._connect())

    def _outcome(self, requests: int, cpu_s: float) -> Outcome:
        plan = self._plan
        late_ms = [seconds * 1000 for seconds in self._late]
        return Outcome(
            requests=requests,
            seconds=plan.seconds,
            statuses={str(status): count for status, count in sorted(self._statuses.items())},
            codes=dict(self._codes.most_common()),
            acknowledged=self._acknowledged,
            unanswered=self._unanswered,
            latency=percentiles([seconds * 1000 for part in self._latency for seconds in part]),
            late=percentiles(late_ms),
            late_share=sum(ms > plan.late_ms for ms in late_ms) / max(1, len(late_ms)),
            waited_for_connection=self._waited,
            slices=[_slice(rate, part) for rate, part in zip(plan.rates, self._latency, strict=True)],
            cpu_s=round(cpu_s, 3),
        )


def _body_length(head: bytes) -> int:
    found = _LENGTH.search(head + b"\r\n")
    return int(found[1]) if found else 0


def _slice(rate: float, seconds: array[float]) -> Slice:
    found = percentiles([each * 1000 for each in seconds])
    return Slice(rate, len(seconds), found["p50"], found["p99"], found["max"])


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """`p50`, `p90`, `p99`, `p99.9` and `max` by nearest rank; 0 of no values."""
    ordered = sorted(values)

    def at(percent: float) -> float:
        return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 3) if ordered else 0.0

    return {**{f"p{percent:g}": at(percent) for percent in PERCENTILES}, "max": at(100)}


def main() -> None:
    plan = msgspec.json.Decoder(Plan).decode(sys.stdin.buffer.read())
    sys.stdout.buffer.write(msgspec.json.encode(Generator(plan).run()))


if __name__ == "__main__":
    main()
