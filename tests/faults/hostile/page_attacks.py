"""What many open dashboards may cost: a hundred pages that ask anew at once, each with
its live stream, all of one token.
"""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack, suppress

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
]
