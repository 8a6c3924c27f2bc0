"""`make hostile`: what one worker's other clients and its memory feel of clients that
mean harm.

Slow: 1,000 connections of which half send the head of a request and half its body at
one byte a second; whenever the server closes one, it is opened again at once. Beside
them well-behaved clients send single events at a fixed rate, far below what the worker
can do, in rounds with and without the slow ones. The figure is the median ratio of
their p99.

Bombs: 1,000 connections that post at the same moment, each 60 KB of gzip that hold 60
MB. The figure is the highest resident memory of the worker above what it had when idle.
Other crowds follow for information.

Each kind of client is a process of its own; the roles that they run are the
sub-commands `steady`, `slow` and `crowd`.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
import zstandard

from tests.bench.load import make_requests
from tests.bench.processes import load, worker

KEY = "ingest-key-of-the-benchmark"
SLOW_RATIO_MAX = 2.0
BOMB_MIB_MAX = 100.0
STEADY_CONNECTIONS = 16
STEADY_RATE = 1_000  # a twentieth of what one worker can do
SETTLE_S = 2.0
ANSWER_S = 60.0
BOMB_BYTES = 60 << 20


def main() -> None:
    given = options()
    if given.role:
        ROLES[given.role](given)
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        failures = [*slow_clients(Path(root) / "slow", given), *crowds(Path(root) / "crowds", given)]
    if failures:
        sys.exit("\n".join(failures))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--clients", type=int, default=1_000, help="slow ones, and bombs at once")
    parser.add_argument("--rounds", type=int, default=9, help="with slow clients and without")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of half a round")
    parser.add_argument("--crowd-rounds", type=int, default=5)
    for name in ("--port", "--seed"):
        parser.add_argument(name, type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--crowd", help=argparse.SUPPRESS)
    return parser.parse_args()


def show(what: str, figure: str, target: str = "") -> None:
    print(f"{what:<64} {figure:>30}   {target}", flush=True)


def role(name: str, **options_: object) -> list[str]:
    """The command line of a client process."""
    return [sys.executable, "-m", "tests.bench.hostile", name, *(f"--{key}={value}" for key, value in options_.items())]


# Slow clients


def slow_clients(root: Path, given: argparse.Namespace) -> list[str]:
    """Measure and show. Returns what is wrong."""
    without, with_, answers, memory = [], [], Counter[str](), []
    with worker(root) as (process, port):
        load(port, 3000, 1, STEADY_CONNECTIONS, 99)
        time.sleep(SETTLE_S)
        idle = resident_mib(process.pid)
        for round_ in range(given.rounds):
            without.append(steady(port, given.seconds, 2 * round_))
            with slow(port, given.clients) as told:
                with_.append(steady(port, given.seconds, 2 * round_ + 1))
                memory.append(resident_mib(process.pid))
            answers.update(told)
            time.sleep(SETTLE_S)
    ratios = sorted(after["p99"] / before["p99"] for before, after in zip(without, with_, strict=True))
    ratio = statistics.median(ratios)
    show(
        f"p99 of other clients, with {given.clients:,} slow connections / without",
        f"{ratio:.2f}",
        f"under {SLOW_RATIO_MAX:g}",
    )
    show(f"  lowest and highest of {given.rounds} rounds", f"{ratios[0]:.2f} … {ratios[-1]:.2f}")
    for name, rounds in (("without", without), ("with", with_)):
        p50, p99 = (statistics.median(result[at] for result in rounds) for at in ("p50", "p99"))
        show(f"  p50 and p99 {name}, {STEADY_RATE:,} requests/s", f"{p50:.2f} ms, {p99:.2f} ms")
    show("  slow connections: opened, answers", f"{answers.pop('opened'):,}, {dict(answers)}")
    show("  memory of the worker: idle, highest with them", f"{idle:.0f} MiB, {max(memory):.0f} MiB")
    return [f"p99 grew {ratio:.2f}-fold"] if ratio >= SLOW_RATIO_MAX else []


def steady(port: int, seconds: float, seed: int) -> dict[str, Any]:
    """p50 and p99 in milliseconds. Raises AssertionError unless every request was
    answered with 200.
    """
    command = role("steady", port=port, seconds=seconds, seed=seed)
    result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    if set(result["statuses"]) != {"200"}:
        raise AssertionError(f"not every request was answered with 200: {result['statuses']}")
    return result


@contextmanager
def slow(port: int, clients: int) -> Iterator[Counter[str]]:
    """Slow clients, all of them connected. What became of them is in the counter once
    they have ended.
    """
    told: Counter[str] = Counter()
    command = role("slow", port=port, clients=clients)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if not process.stdin or not process.stdout or process.stdout.readline() != b"connected\n":
            raise RuntimeError("the slow clients did not connect")
        yield told
        process.stdin.close()
        told.update(json.loads(process.stdout.read()))


def run_steady(given: argparse.Namespace) -> None:
    requests = make_requests(int(given.seconds * STEADY_RATE), 1, given.port, given.seed)
    print(json.dumps(uvloop.run(send_steadily(given.port, requests))))


async def send_steadily(port: int, requests: list[bytes]) -> dict[str, Any]:
    """An open loop: a request goes out when it is due, whether or not those before it
    were answered.

    One that is due on a connection that still waits for an answer is sent after it, and
    its time counts from when it was due.
    """
    loop = asyncio.get_running_loop()
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    made = [
        await loop.create_connection(lambda: SteadyConnection(statuses, latencies), "127.0.0.1", port)
        for _ in range(STEADY_CONNECTIONS)
    ]
    started = time.perf_counter()
    for number, request in enumerate(requests):
        if (wait := started + number / STEADY_RATE - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        made[number % STEADY_CONNECTIONS][1].send(request)
    async with asyncio.timeout(ANSWER_S):
        while len(latencies) < len(requests):  # noqa: ASYNC110  a list that fills
            await asyncio.sleep(0.01)
    cuts = statistics.quantiles(latencies, n=100)
    return {"statuses": statuses, "p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


class SteadyConnection(asyncio.Protocol):
    """A keep-alive connection with one request at a time; those that are due meanwhile
    wait.
    """

    def __init__(self, statuses: Counter[int], latencies: list[float]) -> None:
        self._statuses = statuses
        self._latencies = latencies
        self._due: deque[tuple[float, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: bytes) -> None:
        self._due.append((time.perf_counter(), request))
        if len(self._due) == 1:
            self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        # The answer to one event is some 150 bytes and comes in one piece.
        self._statuses[int(data[9:12])] += 1
        self._latencies.append(time.perf_counter() - self._due.popleft()[0])
        if self._due:
            self._transport.write(self._due[0][1])  # type: ignore[attr-defined]


def run_slow(given: argparse.Namespace) -> None:
    uvloop.run(trickle(given.port, given.clients))


async def trickle(port: int, clients: int) -> None:
    """Keep all clients connected, each sending a byte a second, until standard input
    ends.
    """
    told: Counter[str] = Counter()
    head = make_requests(1, 1, port, 1)[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    places = [SlowClient(port, b"" if number % 2 else head, told) for number in range(clients)]
    await asyncio.gather(*[place.connect() for place in places])
    print("connected", flush=True)
    for turn in range(sys.maxsize):
        for place in places[turn % 100 :: 100]:
            place.send_byte()
        await asyncio.sleep(0.01)
        if ended.done():
            break
    for place in places:
        place.leave()
    print(json.dumps(told), flush=True)


class SlowClient(asyncio.Protocol):
    """One place among the slow clients: sends `at_once` (nothing, or a whole head), and
    from then on a byte a second.
    """

    def __init__(self, port: int, at_once: bytes, told: Counter[str]) -> None:
        self._port = port
        self._at_once = at_once
        self._rest = b'{"events":[{"name":"' if at_once else b"POST /v1/events HTTP/1.1\r\nX-Slow: "
        self._told = told
        self._transport: Any = None
        self._stays = True

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._told["opened"] += 1
        self._transport = transport
        self._sent = 0
        self._transport.write(self._at_once)

    def send_byte(self) -> None:
        if self._transport is not None:
            self._transport.write(self._rest[self._sent : self._sent + 1] or b"x")
            self._sent += 1

    def data_received(self, data: bytes) -> None:
        self._told[data[9:12].decode("ascii")] += 1

    def leave(self) -> None:
        self._stays = False
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._stays:
            self._again = asyncio.ensure_future(self.connect())


# Crowds


def crowds(root: Path, given: argparse.Namespace) -> list[str]:
    """Measure and show each crowd. Returns what is wrong."""
    failures: list[str] = []
    with worker(root, FOLDLOG_INGEST_KEYS=KEY) as (process, port):
        load(port, 3000, 1, STEADY_CONNECTIONS, 99)
        time.sleep(SETTLE_S)
        idle = resident_mib(process.pid)
        for name in CROWDS:
            rises, answers, seconds = [], Counter[str](), []
            for _ in range(given.crowd_rounds):
                with highest_resident(process.pid) as highest:
                    result = crowd(port, name, given.clients)
                rises.append(max(highest) - idle)
                answers.update(result["answers"])
                seconds.append(result["seconds"])
            wanted = f"at most {BOMB_MIB_MAX:g} MiB" if name in BOMBS else ""
            show(f"{given.clients:,} at once: {name}, memory above idle", f"{max(rises):.1f} MiB", wanted)
            show("  each round", ", ".join(f"{rise:.1f}" for rise in rises))
            show(
                "  answers, median time to the last of a round", f"{dict(answers)}, {statistics.median(seconds):.1f} s"
            )
            if name in BOMBS:
                failures += wrong_with(name, max(rises), answers)
        time.sleep(SETTLE_S)
        load(port, 1000, 1, STEADY_CONNECTIONS, 98)  # it still works, and it is still the same process
        show("  memory: idle before, idle after all of them", f"{idle:.1f} MiB, {resident_mib(process.pid):.1f} MiB")
        if process.poll() is not None:
            failures.append("the worker died")
    return failures


def wrong_with(name: str, rise_mib: float, answers: Counter[str]) -> Iterator[str]:
    if rise_mib > BOMB_MIB_MAX:
        yield f"{name}: memory rose by {rise_mib:.1f} MiB"
    if unexpected := set(answers) - {"413", "503"}:
        yield f"{name}: unexpected answers {sorted(unexpected)}"


def crowd(port: int, name: str, clients: int) -> dict[str, Any]:
    """Answers by status, `none` where a connection ended without one, and the seconds
    until the last.
    """
    command = role("crowd", port=port, crowd=name, clients=clients)
    result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=300).stdout)
    return result


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


@contextmanager
def highest_resident(pid: int) -> Iterator[list[float]]:
    """The highest resident memory of a process until the block ends: read every 10
    ms, and as the kernel saw it.
    """
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")  # VmHWM begins anew
    seen: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            seen.append(resident_mib(pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        ended.set()
        looking.join()
        seen.append(resident_mib(pid, "VmHWM"))


def post(body: bytes, **headers: str) -> bytes:
    named = {"Host": "127.0.0.1", "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"POST /v1/events HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body


def gzip_bomb() -> bytes:
    return post(gzip.compress(bytes(BOMB_BYTES), 9), Content_Encoding="gzip")


def zstd_bomb() -> bytes:
    """Without the size it holds, so that it must be inflated to be known."""
    compressor = zstandard.ZstdCompressor().compressobj()
    body = compressor.compress(bytes(BOMB_BYTES)) + compressor.flush()
    return post(body, Content_Encoding="zstd")


def large_body() -> bytes:
    """1 MiB, as a server with a key may send it."""
    texts = b",".join(b'"text%d":"%b"' % (number, b"x" * 2000) for number in range(3))
    event = b'{"name":"pageview","visitor":"v0000001","props":{%b}}' % texts
    count = ((1 << 20) - 100) // (len(event) + 1)
    return post(b'{"consent":"granted","events":[%b]}' % b",".join([event] * count), Authorization=f"Bearer {KEY}")


# What each of the crowd sends, and whether all of them hold the last byte back until
# all of the others have arrived.
CROWDS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "gzip bombs": (gzip_bomb, False),
    "gzip bombs but for their last byte, then that": (gzip_bomb, True),
    "zstd bombs": (zstd_bomb, False),
    "1 MiB with a key": (large_body, False),
    "1 MiB with a key, last byte held back": (large_body, True),
}
BOMBS = list(CROWDS)[:3]


def run_crowd(given: argparse.Namespace) -> None:
    make, held_back = CROWDS[given.crowd]
    print(json.dumps(uvloop.run(rush(given.port, make(), given.clients, held_back=held_back))))


async def rush(port: int, request: bytes, clients: int, *, held_back: bool) -> dict[str, Any]:
    """Connect all clients, then send everything at once."""
    loop = asyncio.get_running_loop()
    made = [(await loop.create_connection(OneRequest, "127.0.0.1", port))[1] for _ in range(clients)]
    first, last = (request[:-1], request[-1:]) if held_back else (request, b"")
    started = time.perf_counter()
    for client in made:
        client.send(first)
    if held_back:
        await asyncio.sleep(2.0)
        for client in made:
            client.send(last)
    answers = await asyncio.wait_for(asyncio.gather(*[client.answer for client in made]), ANSWER_S)
    return {"answers": Counter(answers), "seconds": time.perf_counter() - started}


class OneRequest(asyncio.Protocol):
    """A connection for one request. `answer` is its status, or `none`."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        if not self.answer.done():
            self.answer.set_result(data[9:12].decode("ascii"))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result("none")


ROLES: dict[str, Callable[[argparse.Namespace], None]] = {"steady": run_steady, "slow": run_slow, "crowd": run_crowd}


if __name__ == "__main__":
    main()
