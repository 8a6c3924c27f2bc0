"""What many open dashboards may cost: a hundred pages that ask anew at once, each with
its live stream, all of one token; and one token that asks for the doctor without end.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from ingest.observe.doctor import KEPT_S
from tests.bench.processes import ADMIN_TOKEN
from tests.faults.hostile.attacker import send
from tests.faults.hostile.cost import Attack, Bounds, Cost, Scene
from tests.faults.hostile.flood import asking, beside, record
from tests.faults.hostile.fold_attacks import today
from tests.faults.hostile.ground import ATTACKER, Ground
from tests.faults.hostile.reader_attacks import fill
from tests.faults.hostile.trial import trial

PAGES, PAGES_QUICK = 100, 60
STREAMS = 100
QUESTIONS, QUESTIONS_QUICK = 1_000, 200
STREAMS_TAKEN_MAX = 16  # of the one worker
ROUND = (
    "status",
    "live?limit=6",
    "goals/report?from={day}&to={day}",
    "report?from={day}&to={day}&measures=visitors,visits,views_per_visit,bounce_rate,visit_duration,events,value_sum",
    "report?from={day}&to={day}&measures=visitors&interval=hour&compare=previous",
    *(f"report?from={{day}}&to={{day}}&by={by}&measures=visitors,events&limit=9" for by in ("path", "source", "event")),
)


def hundred_pages(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """One question asked as often as all pages ask together, then the pages."""
    pages = PAGES_QUICK if scene.quick else PAGES
    paths = [f"/admin/api/{each.format(day=today())}" for each in ROUND]
    fill(place)
    with beside(place, control, scene.quick):
        record(control, send(place.port, asking([paths[4]] * len(paths) * pages), "127.0.3.99"))
    opened_as: Counter[str] = Counter()
    with beside(place, cost, scene.quick), ExitStack() as opened:
        for _ in range(STREAMS):
            opened_as[_open_stream(place, opened)] += 1
        record(cost, send(place.port, asking(paths * pages), ATTACKER))
    cost.said = ", ".join(f"{count} streams: {status}" for status, count in sorted(opened_as.items()))
    cost.check(set(opened_as) <= {"200", "503"}, f"streams were answered with {dict(opened_as)}")
    cost.check(0 < opened_as["200"] <= STREAMS_TAKEN_MAX, f"{opened_as['200']} streams were open at once")
    after = _open_stream_alone(place)
    cost.check(after == "200", f"a stream afterwards was answered with {after}")


def doctor_flood(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """The list of tokens asked for as often, then the doctor."""
    count = QUESTIONS_QUICK if scene.quick else QUESTIONS
    with beside(place, control, scene.quick):
        record(control, send(place.port, asking(["/admin/api/tokens"] * count), "127.0.3.99"))
    began, runs, at_once = time.monotonic(), set[int](), 0
    with beside(place, cost, scene.quick), ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, place.port, asking(["/admin/api/doctor"] * count), ATTACKER)
        while not sending.done():
            found = _doctors(place)
            runs |= found
            at_once = max(at_once, len(found))
            time.sleep(0.02)
        record(cost, sending.result())
    cost.said = f"runs of the doctor: {len(runs)}"
    cost.check(at_once <= 1, f"{at_once} doctors ran at once")
    most = 1 + int((time.monotonic() - began) / KEPT_S)
    cost.check(1 <= len(runs) <= most, f"{len(runs)} doctors ran, not 1 to {most}")
    cost.check(cost.taken == count, f"questions were answered with {cost.answers}")


def _doctors(place: Ground) -> set[int]:
    """The processes that are a doctor of this place now."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and b"\0doctor\0--json" in (entry / "cmdline").read_bytes():
                environ = (entry / "environ").read_bytes()
                if str(place.data).encode() in environ:
                    found.add(int(entry.name))
    return found


def _open_stream(place: Ground, opened: ExitStack) -> str:
    """The status of its answer; it stays open."""
    made = opened.enter_context(socket.create_connection(("127.0.0.1", place.port), 60, (ATTACKER, 0)))
    head = f"GET /admin/api/live/stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    made.sendall(head.encode())
    with suppress(OSError):
        return made.recv(1_000)[9:12].decode("ascii")
    return "none"


def _open_stream_alone(place: Ground) -> str:
    with ExitStack() as opened:
        return _open_stream(place, opened)


ATTACKS: list[Attack] = [
    trial(
        "hundred-pages",
        "100 dashboards that ask anew at once, and 100 live streams, all of one token",
        "one report as often as all of them ask",
        hundred_pages,
        {"FOLDLOG_RATE_LIMIT_TOKEN": "0"},
        Bounds(cpu_ratio=8.0, p95_ratio=4.0),
    ),
    trial(
        "doctor-flood",
        "questions for the doctor without end, of one token",
        "the list of tokens as often",
        doctor_flood,
        {"FOLDLOG_RATE_LIMIT_TOKEN": "0"},
        Bounds(cpu_ratio=4.0, p95_ratio=4.0),
    ),
]
