"""An open-loop load generator, in a process of its own: `python -m
foldlog.load.generator` reads a Plan, prints an Outcome.

A request is sent when it is due, whether or not those before it were answered, and its
latency counts from when it was due. So a server that stands still for a second is
charged with everybody who came in that second, and not with one request.
"""

from __future__ import annotations

import gc
import math
import random
import re
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence

import msgspec
import orjson

from foldlog.load import EVENT_NAME

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
CONNECT_S = 5.0
# The server closes a connection after 15 s of silence; a request that met that moment
# would be lost on the way.
IDLE_S = 8.0
SENDS_PER_LOOK = 32
TEMPLATES = 499
PATHS = 2_000
REFERRERS = ("https://www.example.org/search", "https://news.example.net/", "https://social.example.com/feed")
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
LATE_MS = 5.0

# Odd, so that no two numbers give the same id. One that rose by one each time would
# compress as no real one does.
_ID_STEP, _ID_MASK = 0x9E3779B97F4A7C15F39CC061, (1 << 96) - 1
_SESSION_STEP, _SESSION_MASK = 0x9E3779B97F4B, (1 << 48) - 1
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Plan(msgspec.Struct, kw_only=True):
    """What to send. `rates` are requests a second in equal slices of `seconds`; before
    them the warm-up, at the first rate.

    `headers` are whole lines, each with its line end. `forwarded`: each request says,
    as a proxy does, whom it is for: every user has an address. Every event of every run
    with another `run` (8 hex digits) has an id of its own.
    """

    host: str
    port: int
    headers: str
    site: str
    rates: list[float]
    seconds: float
    run: str
    warm_up_s: float = 0.0
    events: int = 1
    users: int = 10_000
    connections: int = 128
    seed: int = 1
    forwarded: bool = False
    late_ms: float = LATE_MS
    answer_s: float = 30.0


class Slice(msgspec.Struct):
    """One slice of the run: requests a second as planned, those that were due, their
    p50, p99 and slowest in milliseconds.
    """

    rate: float
    requests: int
    p50: float
    p99: float
    max: float


class Outcome(msgspec.Struct, kw_only=True):
    """What became of it. Times in milliseconds; latencies and lateness without the
    warm-up, counts with it.

    `acknowledged` events are those that the server says it stored; what `unanswered`
    requests held may be stored or not. `late` is how long after it was due the
    generator came to send a request: its own fault, and part of the latency.
    """

    requests: int
    seconds: float
    statuses: dict[str, int]
    codes: dict[str, int]
    acknowledged: int
    unanswered: int
    latency: dict[str, float]
    late: dict[str, float]
    late_share: float
    waited_for_connection: int
    slices: list[Slice]
    cpu_s: float


class _Connection:
    """A keep-alive connection with at most one request under way. `due` is when that
    was, in seconds of the run.
    """

    __slots__ = ("answer", "blocked", "busy", "due", "socket", "unsent", "used_at")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, CONNECT_S)
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
        self._under_way = 0
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
        """Send everything that is due, then wait at most `answer_s` for the last
        answers.
        """
        cpu = time.process_time()
        for _ in range(self._plan.connections):
            self._idle.append(self._connect())
        due = list(arrivals(self._plan))
        gc.disable()
        self._start = time.perf_counter() + self._plan.warm_up_s
        end = self._send_all(due)
        while self._under_way or self._waiting:
            if time.perf_counter() - self._start > end + self._plan.answer_s:
                self._unanswered += self._under_way
                break
            self._look(0.01)
        gc.enable()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._poll.close()
        return self._outcome(len(due), time.process_time() - cpu)

    def _send_all(self, due: Sequence[float]) -> float:
        """Returns when the last one was due."""
        start, late = self._start, self._late
        for number, at in enumerate(due, 1):
            while (now := time.perf_counter() - start) < at:
                self._look(at - now)
            if at >= 0:
                late.append(now - at)
            if self._idle:
                self._send(self._idle.popleft(), at)
            else:
                self._waited += 1
                self._waiting.append(at)
            if not number % SENDS_PER_LOOK:
                self._look(0)
        return due[-1] if due else 0.0

    def _look(self, wait_s: float) -> None:
        """Take what has arrived; if nothing has, wait for it that long."""
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
        self._under_way += 1
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
        if not data or not connection.busy:  # what a server says unasked is that it closes
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
        told = orjson.loads(body)
        self._acknowledged += told.get("accepted", 0)
        if status >= 300:
            self._codes[told.get("code") or told["rejected"][0]["code"]] += 1
        self._under_way -= 1
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
        """The server closed the connection. If a request was under way, nobody knows
        whether it was stored.
        """
        self._drop(connection)
        if connection.busy:
            self._under_way -= 1
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
    """The smallest value that at least so many percent do not exceed: `p50`, `p90`,
    `p99`, `p99.9` and `max`; 0 of none.
    """
    ordered = sorted(values)

    def at(percent: float) -> float:
        return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 3) if ordered else 0.0

    return {**{f"p{percent:g}": at(percent) for percent in PERCENTILES}, "max": at(100)}


def arrivals(plan: Plan) -> Iterator[float]:
    """When each request is due, in seconds of the run; negative in the warm-up. People
    come independently (Poisson).
    """
    pick = random.Random(plan.seed)  # noqa: S311
    slice_s = plan.seconds / len(plan.rates)
    edges = [(-plan.warm_up_s, 0.0, plan.rates[0])]
    edges += [(number * slice_s, (number + 1) * slice_s, rate) for number, rate in enumerate(plan.rates)]
    for start, end, rate in edges:
        if rate <= 0:
            continue
        at = start + pick.expovariate(rate)
        while at < end:
            yield at
            at += pick.expovariate(rate)


def make_requests(plan: Plan) -> Iterator[bytes]:
    """Whole requests without end: one of TEMPLATES, filled with new ids, a visitor with
    a session and an address, and paths.
    """
    pick = random.Random(plan.seed)  # noqa: S311
    templates = [(_head(plan, pick), _template(plan, pick)) for _ in range(TEMPLATES)]
    run, users, events, number = int(plan.run, 16) << 96, plan.users, range(plan.events), 0
    while True:
        head, body = templates[number % TEMPLATES]
        user = int(pick.random() * users)
        session = user * _SESSION_STEP & _SESSION_MASK
        values: list[int] = []
        for event in events:
            id_ = run | (number * plan.events + event) * _ID_STEP & _ID_MASK
            # The second path is half as popular as the first, the third a third: about
            # what Zipf says of pages.
            values += (id_, user, session, int(PATHS ** pick.random()))
        number += 1
        filled = body % tuple(values)
        yield b"%b%bContent-Length: %d\r\n\r\n%b" % (
            head,
            _address(user) if plan.forwarded else b"",
            len(filled),
            filled,
        )


def _head(plan: Plan, pick: random.Random) -> bytes:
    """All of a head but its last lines, as one of 200 browsers sends it."""
    headers = plan.headers.replace("Chrome/131.", f"Chrome/{pick.randrange(50, 250)}.")
    return f"POST /v1/events HTTP/1.1\r\n{headers}Content-Type: application/json\r\n".encode("ascii")


def _address(user: int) -> bytes:
    """An address of the networks for benchmarks (198.18.0.0/15), one for each of
    100,000 users.
    """
    return b"X-Forwarded-For: 198.%d.%d.%d\r\n" % (18 + user // 65536 % 2, user // 256 % 256, user % 256)


def _template(plan: Plan, pick: random.Random) -> bytes:
    """A batch as a page sends it, about 250 bytes an event, with places for id,
    visitor, session and path in each.
    """
    events = [
        f'{{"name":"{EVENT_NAME}","id":"%032x","visitor":"v%08d","session":"s%012x",'
        f'"url":"{plan.site}/articles/%d?utm_source=s{pick.randrange(5)}","referrer":"{pick.choice(REFERRERS)}",'
        f'"props":{{"plan":"{pick.choice(("free", "pro"))}","step":{pick.randrange(7)}}}}}'
        for _ in range(plan.events)
    ]
    return f'{{"consent":"granted","events":[{",".join(events)}]}}'.encode("ascii")


def main() -> None:
    plan = msgspec.json.Decoder(Plan).decode(sys.stdin.buffer.read())
    sys.stdout.buffer.write(msgspec.json.encode(Generator(plan).run()))


if __name__ == "__main__":
    main()
