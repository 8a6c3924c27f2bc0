"""`make demo-postgres`: two hosts on this machine, one PostgreSQL, one answer.

Everything it starts listens on the loopback interface or a Unix socket, keeps what it
has in throw-away directories, and ends with Ctrl-C. Some ids are sent to both hosts, as
by a load balancer that repeats a request: each counts once.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from shared.timestamps import now_ms
from tests.builders.postgres import running
from tests.builders.postgres_kinds import KINDS, Absent
from tests.builders.server import ADMIN_TOKEN, Server
from tests.builders.waiting import TIMEOUT_S

EVENTS_OF_A_HOST = 300
SENT_TO_BOTH = 100
VISITORS = 60
HOURS = 48
PATHS = ("/", "/pricing", "/docs/install", "/docs/settings", "/blog/one-log", "/signup")
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"}
EVENTS = 2 * EVENTS_OF_A_HOST - SENT_TO_BOTH


def main() -> int:
    """Returns 1 where the hosts do not count what was sent."""
    signal.signal(signal.SIGTERM, _interrupt)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        first, second = (_start(stack, address) for address in [_database(stack)] * 2)
        started_ms = now_ms()
        _send(first, range(EVENTS_OF_A_HOST), started_ms)
        _send(second, range(EVENTS_OF_A_HOST - SENT_TO_BOTH, EVENTS), started_ms)
        print(f"Sent {EVENTS_OF_A_HOST} events to each host, {SENT_TO_BOTH} of them to both.", flush=True)
        if not all(_counts(each) for each in (first, second)):
            return 1
        print(f"The page: http://{first.host}/admin/ or http://{second.host}/admin/")
        print(f"Sign in with the token {ADMIN_TOKEN}; end with Ctrl-C.", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C leaves nothing half removed
    print("Ended; nothing is left behind.")
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _database(stack: ExitStack) -> str:
    """The address of an empty database. Raises Absent without a PostgreSQL."""
    for kind in KINDS.values():
        with suppress(Absent):
            server = stack.enter_context(running(kind(), quick=True))
            address = server.database()
            print(f"PostgreSQL runs: {address}")
            return address
    raise Absent("no PostgreSQL can be started here: apt-get install postgresql, or make setup")


def _start(stack: ExitStack, address: str) -> Server:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foldlog-demo-")))
    server = stack.enter_context(
        Server(directory, store=address, sites="example.com", fold_interval=2, segment_max_age=1)
    )
    print(f"A host runs: http://{server.host}, its data in {server.data.root}", flush=True)
    return server


def _send(server: Server, numbers: Iterable[int], started_ms: int) -> None:
    events = [_event(number, started_ms) for number in numbers]
    answer = server.post(events, headers=BROWSER)
    if answer.status != 200 or answer.json()["accepted"] != len(events):
        raise RuntimeError(f"events were refused: {answer.status} {answer.body.decode('utf-8')}")


def _event(number: int, started_ms: int) -> dict[str, Any]:
    """The same event for the same number, on whichever host."""
    return {
        "id": f"demo-event-{number:05}",
        "name": "signup" if number % 25 == 0 else "pageview",
        "time": started_ms - number * HOURS * 3_600_000 // EVENTS,
        "url": f"https://example.com{PATHS[number * number % 11 % len(PATHS)]}",
        "visitor": f"visitor-{number * 7 % VISITORS}",
    }


def _counts(server: Server) -> bool:
    """Whether this host answers with the events and visitors of both, each once."""
    deadline = time.monotonic() + TIMEOUT_S
    total: dict[str, Any] = {}
    while time.monotonic() < deadline:
        answer = server.get("/admin/api/report")
        total = answer.json()["total"] if answer.status == 200 else {}
        if (total.get("events"), total.get("visitors")) == (EVENTS, VISITORS):
            print(f"{server.host} counts {EVENTS} events and {VISITORS} visitors over both hosts.", flush=True)
            return True
        time.sleep(0.5)
    print(f"{server.host} counts {total}, not {EVENTS} events and {VISITORS} visitors.\n{server.log_tail()}")
    return False


if __name__ == "__main__":
    sys.exit(main())
