"""`foldlog demo`, top to bottom: a directory, a quarter of traffic in its log, a fold,
a server with a trickle of visits, and a link that signs in.

The server is that of `foldlog serve`. Settings of this user are not looked at, so that
a demo reaches neither his data nor his store.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec

from foldlog.demo.greeting import Greeting, farewell, say
from foldlog.demo.journeys import FILTERS, GOALS
from foldlog.demo.made import Made, Tally
from foldlog.demo.people import People
from foldlog.demo.place import Place, demo_place, forget_settings
from foldlog.demo.quarter import people_of_sites, quarter
from foldlog.demo.trickle import Trickle
from foldlog.log_output import open_log
from foldlog.preflight import check_start
from foldlog.supervisor.serve import AddressInUse, serve
from shared.core_dumps import forbid_core_dumps
from shared.disk.durable import make_data_directory
from shared.exit_codes import SUCCESS, TemporaryFailure
from shared.named_filters import NamedFilter, put_named_filter
from shared.settings import Settings
from shared.timestamps import now_ms

HOST = "127.0.0.1"
PORT = 8080
# Lines of a segment: a fold verifies and loads one after the other.
SEGMENT_LINES = 20_000


@dataclass(frozen=True)
class Plan:
    """What was typed. `began`: when, on the monotonic clock."""

    days: int
    seed: int
    port: int | None
    keep: Path | None
    began: float


class FoldFailed(TemporaryFailure):
    """What the process that folds has said."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"the traffic could not be counted: {self.said or 'the fold ended without a word'}"


class ServeFailed(TemporaryFailure):
    """The last line of the log."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"the server could not start: {self.said}"


def run_demo(plan: Plan) -> int:
    """Run until Ctrl-C, SIGTERM or the end of the terminal. Raises NotEmpty,
    TooLittleRoom, AddressInUse, FoldFailed, ServeFailed.
    """
    forget_settings(os.environ)
    forbid_core_dumps()
    with demo_place(plan.keep) as place, listening_socket(plan.port) as listening:
        settings = place.configure(listening.getsockname()[:2])
        check_start(place.data)
        make_data_directory(place.data)
        people = people_of_sites(plan.seed)
        say(f"Making {plan.days} days of visits to two sites …")
        made = make(place, plan, people)
        keep_goals(place)
        say(f"Counting {made.lines:,} events …")
        fold(place)
        trickle = Trickle(settings.listen[1], people, plan.seed, plan.days)
        serve_until_stopped(place, settings, listening, Greeting(plan.began, place, settings, made, trickle))
    say(farewell(place))
    return SUCCESS


def listening_socket(port: int | None) -> socket.socket:
    """A socket on the loopback interface; at another port than usual where that is
    taken, and none was asked for. Raises AddressInUse.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port or PORT))
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno != errno.EADDRINUSE:
            raise
        if port is not None:
            raise AddressInUse(f"another process listens on {HOST}:{port}; name another --port") from None
        listening = socket.create_server((HOST, 0))
    return listening


def make(place: Place, plan: Plan, people: dict[str, People]) -> Made:
    """Write the traffic as sealed segments, and what was made into made.json."""
    from foldlog.demo.lines import line_of, write_segment

    now, tally, chance = now_ms(), Tally(), random.Random(f"{plan.seed} lines")  # noqa: S311
    sequence, lines = 1, []
    for events in quarter(people, plan.seed, plan.days, now):
        tally.add(events)
        lines += [line_of(event, now, chance) for event in events]
        if len(lines) >= SEGMENT_LINES:
            write_segment(place.data, sequence, lines)
            sequence, lines = sequence + 1, []
    if lines:
        write_segment(place.data, sequence, lines)
    made = tally.made(plan.seed, plan.days, now)
    place.made.write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
    return made


def keep_goals(place: Place) -> None:
    for name, filter_ in GOALS.items():
        put_named_filter(place.data, NamedFilter("goal", name, filter_))
    for name, filter_ in FILTERS.items():
        put_named_filter(place.data, NamedFilter("filter", name, filter_))


def fold(place: Place) -> None:
    """Fold the traffic by the passes of the product, in a process of their own. Raises
    FoldFailed.
    """
    command = [sys.executable, "-m", "foldlog", "--config", str(place.config), "compact", "--once"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != SUCCESS:
        raise FoldFailed(ended.stderr.strip())


def serve_until_stopped(place: Place, settings: Settings, listening: socket.socket, greeting: Greeting) -> None:
    """Run the supervisor of `foldlog serve`. Raises ServeFailed."""
    _end_with_terminal()
    log = open_log(settings, "serve")
    try:
        with errors_to(place.log):
            serve(settings, str(place.config), [listening], greeting, log, is_announced=False)
    except SystemExit:
        raise ServeFailed(place.log.read_text("utf-8", "replace").strip().rpartition("\n")[2]) from None


@contextmanager
def errors_to(path: Path) -> Iterator[None]:
    """Have what processes write to standard error stand in a file meanwhile."""
    before = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _end_with_terminal() -> None:
    """A terminal that is closed ends the demo, as Ctrl-C does, but not under nohup."""

    def on_hangup(_number: int, _frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, on_hangup)
