"""What a client with a reader's token may hold: exports that it leaves, exports that it
reads slowly, many at once, questions that are dear to parse.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from contextlib import ExitStack, suppress

from tests.bench.processes import ADMIN_TOKEN
from tests.faults.hostile.attacker import Request, batches, send
from tests.faults.hostile.cost import Attack, Bounds, Cost, Scene
from tests.faults.hostile.flood import Flood, asking, beside, flood
from tests.faults.hostile.fold_attacks import today
from tests.faults.hostile.ground import ATTACKER, Ground
from tests.faults.hostile.trial import trial

EVENTS = 25_000
ABORTED, ABORTED_QUICK = 100, 12
AT_ONCE, AT_ONCE_QUICK = 24, 12
READERS_MAX = 4
MIB_PER_READER = 260
STALLED_S = 1.0
SETTLED_S = 20.0
LEFT_MIB_MAX = 40.0
SLOW_BYTES = 4_096  # fewer would not move the window of TCP
SLOW_S, SLOW_EVERY_S = 75.0, 9.0  # longer than a client may be too slow


def fill(place: Ground) -> None:
    """Events enough for an export that no buffer of the system holds."""
    filling = {"text": "x" * 400}
    for start in range(0, EVENTS, 5_000):  # each address stays within its limits
        events = [{"name": "filling", "url": f"http://a/{start + n}", "props": filling} for n in range(5_000)]
        send(place.port, batches(events), f"127.0.3.{start // 5_000 + 1}")
    place.fold()
    place.ask(f"/admin/api/report?from={today()}&to={today()}")  # the reader is started


def begin_export(place: Ground, opened: ExitStack) -> tuple[socket.socket, str]:
    """A connection on which an export has begun, and the status of its answer."""
    made = opened.enter_context(socket.socket())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.settimeout(60)
    made.bind((ATTACKER, 0))
    made.connect(("127.0.0.1", place.port))
    path = f"/admin/api/export?from={today()}&to={today()}"
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
    with suppress(OSError):
        return made, made.recv(1_000)[9:12].decode("ascii")
    return made, "none"


def scratch(place: Ground) -> int:
    """Files that only a reader makes."""
    return sum(path.is_file() for found in place.data.glob("*spill*") for path in found.rglob("*"))


def left_exports(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """Clients that begin an export, take a kilobyte and go."""
    count = ABORTED_QUICK if scene.quick else ABORTED
    fill(place)
    _read_to_the_end(place, control)
    before = (len(place.processes()), place.resident_mib(), scratch(place))
    statuses: Counter[str] = Counter()
    with beside(place, cost, scene.quick):
        for _ in range(0, count, READERS_MAX):
            with ExitStack() as opened:
                for _ in range(READERS_MAX):
                    statuses[begin_export(place, opened)[1]] += 1
                time.sleep(STALLED_S)  # the server waits for each of them
        _wait_until_gone(place, before[0])
    cost.requests, cost.answers = count, ", ".join(f"{each:,} of {status}" for status, each in statuses.items())
    cost.processes = len(place.processes()) - before[0]
    more = place.resident_mib() - before[1]
    cost.said = f"{more:+.0f} MiB afterwards"
    cost.check(cost.processes <= 0, f"{cost.processes} processes are left")
    cost.check(more < LEFT_MIB_MAX, f"{more:.0f} MiB are left")
    cost.check(scratch(place) <= before[2], f"{scratch(place) - before[2]} temporary files are left")


def _read_to_the_end(place: Ground, control: Cost) -> None:
    before = place.cpu_seconds()
    status, content = place.ask(f"/admin/api/export?from={today()}&to={today()}")
    control.requests, control.bytes, control.answers = 1, len(content), str(status)
    control.product_cpu_s = place.cpu_seconds() - before
    control.check(content.count(b"\n") >= EVENTS, f"{len(content)} bytes came")


def _wait_until_gone(place: Ground, processes: int) -> None:
    deadline = time.monotonic() + SETTLED_S
    while len(place.processes()) > processes and time.monotonic() < deadline:
        time.sleep(0.2)


def many_exports(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """Exports at once with one token, each held open; another reader asks beside."""
    count = AT_ONCE_QUICK if scene.quick else AT_ONCE
    fill(place)
    _read_to_the_end(place, control)
    before = len(place.processes())
    statuses: Counter[str] = Counter()
    with beside(place, cost, scene.quick), ExitStack() as opened:
        for _ in range(count):
            statuses[begin_export(place, opened)[1]] += 1
        most = len(place.processes()) - before
        report = place.ask(f"/admin/api/report?from={today()}&to={today()}&limit=7")[0]
    cost.requests, cost.answers = count, ", ".join(f"{each:,} of {status}" for status, each in statuses.items())
    cost.said = f"{most} processes more while they were open; a report beside them: {report}"
    cost.check(most <= READERS_MAX, f"{most} processes at once")
    cost.check(statuses["500"] == 0, "an export was answered with 500")
    cost.check((cost.memory_mib or 0) < READERS_MAX * MIB_PER_READER, f"{cost.memory_mib:.0f} MiB at once")


def slow_export(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """A reader that takes a little every nine seconds moves, and holds a process."""
    fill(place)
    _read_to_the_end(place, control)
    before = len(place.processes())
    with beside(place, cost, True), ExitStack() as opened:
        connection, cost.answers = begin_export(place, opened)
        begun = time.monotonic()
        while time.monotonic() < begun + SLOW_S and len(place.processes()) > before:
            time.sleep(SLOW_EVERY_S)
            with suppress(OSError):
                connection.recv(SLOW_BYTES)
        held = time.monotonic() - begun
    cost.requests, cost.said = 1, f"held its process for {held:.0f} s"
    cost.check(held < SLOW_S, f"still held after {SLOW_S:.0f} s")


def many_hours(requests: int) -> list[Request]:
    """10,000 hours in a zone whose offset has minutes, and more than may be asked."""
    return _hours(requests, "Asia/Kathmandu")


def few_hours(requests: int) -> list[Request]:
    return asking([f"/admin/api/report?from={today()}&to={today()}&limit={n + 1}" for n in range(requests)])


def _hours(requests: int, zone: str) -> list[Request]:
    span = ("from=2025-10-01&to=2026-11-20", "from=2000-01-01&to=2026-11-20")
    return asking([f"/admin/api/report?{span[n % 2]}&interval=hour&tz={zone}&limit={n + 1}" for n in range(requests)])


ATTACKS: list[Attack] = [
    trial(
        "left-exports",
        "exports whose client takes a kilobyte and goes away",
        "one export that is read to its end",
        left_exports,
        bounds=Bounds(cpu_ratio=200.0),
    ),
    trial(
        "many-exports",
        "exports at once with one token, all held open",
        "one export that is read to its end",
        many_exports,
        bounds=Bounds(cpu_ratio=60.0),
    ),
    trial(
        "slow-export",
        "an export of which 4 KB are taken every nine seconds",
        "one export that is read to its end",
        slow_export,
        bounds=Bounds(cpu_ratio=20.0),
    ),
    flood(
        "many-hours",
        "questions about 10,000 hours and more, in a zone with minutes",
        "questions about one day",
        Flood(many_hours, few_hours, requests=60, quick=16),
        Bounds(cpu_ratio=60.0, p95_ratio=4.0),
    ),
]
