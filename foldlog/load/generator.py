"""An open-loop load generator in a process of its own: `python -m
foldlog.load.generator PID` reads a Plan, prints an Outcome, and ends when process PID
does.

A request is sent when it is due, even if earlier ones are unanswered, and its latency
counts from when it was due. A server that stalls for a second is therefore charged with
all requests of that second, and not with a single one.

A request of a spike that is refused with a Retry-After is sent again after that time,
with the same ids; its latency counts from when it was first due.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec

from foldlog.load.connection import Connection
from foldlog.load.measurements import Measurements
from foldlog.load.plan import Outcome, Plan, arrivals
from foldlog.load.request_stream import make_requests

# The server closes a connection after 15 s of silence; a request sent at that moment
# would be lost.
IDLE_S = 8.0
SENDS_PER_POLL = 32
REFUSALS = (429, 503)
PR_SET_PDEATHSIG = 1  # linux/prctl.h

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d{1,6})\r\n", re.IGNORECASE)


class Generator:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._address = (plan.host, plan.port)
        self._requests = make_requests(plan)
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        # When it was due, and the request if it was sent before.
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._retries: list[tuple[float, float, bytes]] = []
        self._in_flight = 0
        self._due = list(arrivals(plan))
        self._measured = Measurements(plan, self._due)
        self._last_answer_at = (self._due[-1] if self._due else 0.0) + plan.answer_s
        self._start = 0.0

    def run(self) -> Outcome:
        """Send all requests when they are due, then wait up to `answer_s` for the last
        answers.
        """
        cpu = time.process_time()
        for _ in range(self._plan.connections):
            self._idle.append(self._connect())
        gc.disable()
        self._start = time.perf_counter() + self._plan.warm_up_s
        self._send_all(self._due)
        while self._in_flight or self._waiting or self._retries:
            if self._now() > self._last_answer_at:
                self._measured.unanswered += self._in_flight
                break
            self._poll_connections(0.01)
            self._send_retries()
        gc.enable()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._poll.close()
        return self._measured.outcome(time.process_time() - cpu)

    def _now(self) -> float:
        """The second of the run."""
        return time.perf_counter() - self._start

    def _send_all(self, due: Sequence[float]) -> None:
        late = self._measured.late
        for number, at in enumerate(due, 1):
            while (now := self._now()) < at:
                next_retry = self._retries[0][0] if self._retries else at
                self._poll_connections(min(at, next_retry) - now)
                self._send_retries()
            if at >= 0:
                late.append(now - at)
            if not self._idle:
                self._measured.waited += 1
            self._send_or_wait(at, b"")
            if not number % SENDS_PER_POLL:
                self._poll_connections(0)
                self._send_retries()

    def _send_retries(self) -> None:
        while self._retries and self._retries[0][0] <= self._now():
            _, due, request = heappop(self._retries)
            self._send_or_wait(due, request)

    def _send_or_wait(self, due: float, request: bytes) -> None:
        if self._idle:
            self._send(self._idle.popleft(), due, request)
        else:
            self._waiting.append((due, request))

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

    def _connect(self) -> Connection:
        connection = Connection(self._address)
        self._connections[connection.socket.fileno()] = connection
        self._poll.register(connection.socket.fileno(), select.EPOLLIN)
        return connection

    def _drop(self, connection: Connection) -> None:
        self._poll.unregister(connection.socket.fileno())
        del self._connections[connection.socket.fileno()]
        connection.socket.close()

    def _send(self, connection: Connection, due: float, request: bytes) -> None:
        """Send a request again, or a new one where there is none yet."""
        if time.perf_counter() - connection.used_at > IDLE_S:
            self._drop(connection)
            connection = self._connect()
        connection.due = due
        connection.busy = True
        self._in_flight += 1
        connection.request = connection.unsent = request or next(self._requests)
        self._write(connection)

    def _write(self, connection: Connection) -> None:
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

    def _read(self, connection: Connection) -> None:
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

    def _answered(self, connection: Connection, head: bytes, body: bytes) -> None:
        now = self._now()
        status = int(head[9:12])
        self._measured.add_answer(status, body)
        if not self._is_retried(connection, status, head, now):
            self._measured.add_end(connection.due, now, status)
        self._in_flight -= 1
        connection.answer = b""
        connection.busy = False
        connection.used_at = time.perf_counter()
        if b"\r\nconnection: close" in head.lower():
            self._drop(connection)
            connection = self._connect()
        self._free(connection)

    def _is_retried(self, connection: Connection, status: int, head: bytes, now: float) -> bool:
        """Whether the answer is not the last word. A request that may only be sent
        again after the run is given up.
        """
        due = connection.due
        if status not in REFUSALS or due < 0 or not self._plan.is_spike(self._plan.slice_of(due)):
            return False
        found = _RETRY_AFTER.search(head + b"\r\n")
        if found is None:
            return False
        at = now + int(found[1])
        if at > self._last_answer_at:
            self._measured.give_up(due)
        else:
            heappush(self._retries, (at, due, connection.request))
        return True

    def _free(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        """The server closed the connection. The events of a request in flight may be
        stored or not.
        """
        self._drop(connection)
        if connection.busy:
            self._in_flight -= 1
            self._measured.unanswered += 1
        else:
            self._idle.remove(connection)
        self._free(self._connect())


def _body_length(head: bytes) -> int:
    found = _LENGTH.search(head + b"\r\n")
    return int(found[1]) if found else 0


def _end_with(parent: int) -> None:
    """End this process when the command that started it ends, however it does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        sys.exit(1)


def main() -> None:
    _end_with(int(sys.argv[1]))
    plan = msgspec.json.Decoder(Plan).decode(sys.stdin.buffer.read())
    try:
        outcome = Generator(plan).run()
    except OSError as error:
        sys.exit(f"the server does not take a connection: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
