"""Three hosts of one PostgreSQL under load, with a fault every few seconds: no
acknowledged id is lost, none counts twice, and every host gives the same answer.

    python -m tests.faults.hosts_soak [--minutes 30] [--seed 1] [--directory DIR]

One event in ten is sent to a second host as well, on a neighbouring day. The faults:
SIGKILL of a worker, of a compactor, of a host; a host that is off for a while; the
database killed, stopped, or stopped for a while; its sessions ended; a lock on its
ledger held by another session; a host that publishes everything anew.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TypeVar

import psycopg

from tests.builders.postgres import Server as Database
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required
from tests.builders.processes import children
from tests.builders.server import Server, run_foldlog
from tests.builders.store_hosts import counted_ids
from tests.faults.oracle import Violations
from tests.faults.outcome import Outcome, file_system
from tests.faults.random_kills import COMPACTOR, kill_child

HOSTS = 3
BATCH = 10
BOTH_HOSTS = 0.1
SETTLE_S = 900.0  # on a busy machine a host that was off claims and publishes for minutes
COMMAND_S = 900.0
SETTINGS = {"segment_max_age": 1, "fold_interval": 2, "consent": "implied", "report_timeout": 300}


@dataclass(frozen=True)
class Pace:
    """How long, how often, and how much is sent."""

    seconds: float
    seed: int = 1
    every_s: tuple[float, float] = (1.0, 5.0)
    hold_s: tuple[float, float] = (0.5, 6.0)
    pause_s: float = 0.05


@dataclass
class Sent:
    """Ids that were sent, and those of them that were acknowledged."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0


class Load:
    """One client per host. What is not acknowledged is sent again, to another host in
    one of three cases.
    """

    def __init__(self, servers: list[Server], pace: Pace) -> None:
        self._servers, self._pace = servers, pace
        self._stopped = threading.Event()
        self.of_clients = [Sent() for _ in servers]
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(len(servers))]

    @property
    def acknowledged(self) -> set[str]:
        """Once nothing is sent any more."""
        return {id_ for each in self.of_clients for id_ in each.acknowledged}

    def so_far(self) -> int:
        """Acknowledged ids, while more are sent."""
        return sum(len(each.acknowledged) for each in self.of_clients)

    @property
    def sent(self) -> set[str]:
        return {id_ for each in self.of_clients for id_ in each.sent}

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        pick, own, made = random.Random(f"{self._pace.seed}-{number}"), self.of_clients[number], 0
        while not self._stopped.wait(self._pace.pause_s):
            events = [self._event(pick, f"host{number}-{made + n:08}") for n in range(BATCH)]
            made += BATCH
            own.sent.update(str(each["id"]) for each in events)
            server = number
            while not self._post(server, events, own) and not self._stopped.wait(0.3):
                server = pick.choice([number, number, (number + 1) % len(self._servers)])
            copies = [each | {"time": _days_before(each["time"], pick.randint(0, 2))} for each in events]
            if copies := [each for each in copies if pick.random() < BOTH_HOSTS]:
                self._post((number + 1) % len(self._servers), copies, own)

    def _event(self, pick: random.Random, id_: str) -> dict[str, str]:
        at = datetime.now(UTC) - timedelta(hours=pick.choice([0, 0, 0, 20]))
        name, path = pick.choice(["pageview", "signup"]), pick.randrange(200)
        return {
            "id": id_,
            "name": name,
            "time": at.isoformat(),
            "visitor": f"visitor-{pick.randrange(5_000)}",
            "url": f"https://example.com/{path}",
        }

    def _post(self, server: int, events: list[dict[str, str]], own: Sent) -> bool:
        with suppress(OSError):
            if self._servers[server].post(events).status == 200:
                own.acknowledged.update(str(each["id"]) for each in events)
                return True
        own.refused += 1
        return False


def _days_before(time_text: str, days: int) -> str:
    return (datetime.fromisoformat(time_text) - timedelta(days=days)).isoformat()


@dataclass
class Soak:
    """One run: what the faults share. `database` is the PostgreSQL at `address`."""

    servers: list[Server]
    database: Database
    address: str
    pick: random.Random
    hold_s: tuple[float, float]
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def server(self) -> Server:
        return self.pick.choice(self.servers)

    def hold(self) -> None:
        time.sleep(self.pick.uniform(*self.hold_s))


S = TypeVar("S", bound=Soak)


def kill_worker(soak: Soak) -> None:
    kill_child(soak.server(), "ingest-0")


def kill_compactor(soak: Soak) -> None:
    kill_child(soak.server(), COMPACTOR)


def kill_host(soak: Soak) -> None:
    server = soak.server()
    server.kill()
    server.start()


def switch_host_off(soak: Soak) -> None:
    server = soak.server()
    server.kill()
    soak.hold()
    server.start()


def kill_database(soak: Soak) -> None:
    soak.database.kill()
    soak.hold()
    soak.database.start()


def stop_database(soak: Soak) -> None:
    soak.database.stop()
    soak.hold()
    soak.database.start()


def stop_database_for_a_while(soak: Soak) -> None:
    """All its sessions stand still, and so does who waits for them."""
    stopped = [soak.database.pid, *children(soak.database.pid)]
    for pid in stopped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        soak.hold()
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def end_sessions(soak: Soak) -> None:
    with psycopg.connect(soak.address, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def hold_lock(soak: Soak) -> None:
    with psycopg.connect(soak.address) as connection:
        connection.execute("LOCK TABLE analytics_folded IN ACCESS EXCLUSIVE MODE")
        soak.hold()


def rebuild(soak: Soak) -> None:
    """It may find the database away, or wait for ids: then it is done later."""
    run_foldlog(["store", "rebuild"], soak.server().environ, COMMAND_S)


Fault = Callable[[Soak], None]
FAULTS: tuple[Fault, ...] = (
    kill_worker,
    kill_compactor,
    kill_host,
    switch_host_off,
    kill_database,
    stop_database,
    stop_database_for_a_while,
    end_sessions,
    hold_lock,
    rebuild,
)


def run(pace: Pace, directory: Path, outcome: Outcome) -> list[str]:
    """Soak three new directories. Returns what is to be printed."""
    with (
        running(required("system"), within=directory) as database,
        serving(directory, HOSTS, {"FOLDLOG_STORE": database.database()}) as servers,
    ):
        outcome.file_system = file_system(servers[0].data.root)
        address = servers[0].environ["FOLDLOG_STORE"]
        soak = Soak(servers, database, address, random.Random(pace.seed), pace.hold_s)
        with Load(servers, pace) as load, suppress(KeyboardInterrupt):  # the row then says how many there were
            keep_at_it(soak, load, pace, FAULTS)
        totals = settled(servers, len(load.acknowledged))
        counted = counted_ids(address, directory)
        violations = compare(counted, load)
        refused = sum(each.refused for each in load.of_clients)
    outcome.add(violations, len(load.acknowledged), f"seed {pace.seed}, {dict(soak.done)}")
    outcome.points = outcome.runs = soak.done.total()
    outcome.failures += soak.failures
    if set(totals) != {counted.total()}:
        outcome.failures.append(f"the hosts answer {totals}, their archives have {counted.total()} events")
    return [f"faults: {dict(sorted(soak.done.items()))}", f"{counted.total():,} events counted, {refused:,} refusals"]


@contextmanager
def serving(directory: Path, hosts: int, store: dict[str, str]) -> Iterator[list[Server]]:
    """Hosts of one store, each with a directory of its own."""
    folders = [directory / f"host{number}" for number in range(hosts)]
    for folder in folders:
        folder.mkdir()
    servers = [Server(folder, **SETTINGS) for folder in folders]
    for server in servers:
        server.environ |= store
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        yield servers


def keep_at_it(soak: S, load: Load, pace: Pace, faults: Sequence[Callable[[S], None]]) -> None:
    """A fault every few seconds: each once, in an order of its own, and all over again
    while there is time.
    """
    began = time.monotonic()
    while not soak.done or time.monotonic() < began + pace.seconds:
        for fault in soak.pick.sample(faults, len(faults)):
            time.sleep(soak.pick.uniform(*pace.every_s))
            try:
                fault(soak)
            except (OSError, AssertionError, psycopg.Error, HTTPException, TimeoutExpired) as error:
                soak.failures.append(f"{fault.__name__}: {error}")
            soak.done[fault.__name__] += 1
        print(
            f"{time.monotonic() - began:.0f} s: {soak.done.total()} faults, {load.so_far():,} acknowledged",
            file=sys.stderr,
            flush=True,
        )


def settled(servers: list[Server], expected: int) -> list[int]:
    """What each host answers over all, once all has been published: at least what was
    acknowledged, the same everywhere, and the same again.
    """
    deadline, last = time.monotonic() + SETTLE_S, list[int]()
    while time.monotonic() < deadline:
        totals = [total(server) for server in servers]
        if len(set(totals)) == 1 and totals[0] >= expected and totals == last:
            return totals
        last = totals
        time.sleep(5)
    return last


def total(server: Server) -> int:
    """Events over all hosts; -1 while there is no answer."""
    since = (datetime.now(UTC) - timedelta(days=5)).date()
    answer = server.get("/admin/api/report", None, bots="include", visitors="none", **{"from": str(since)})
    return int(answer.json()["total"]["events"]) if answer.status == 200 else -1


def compare(counted: Counter[str], load: Load) -> Violations:
    """What the archives in the store have, against what was acknowledged."""
    return Violations(
        lost=frozenset(load.acknowledged - counted.keys()),
        double=frozenset(id_ for id_, times in counted.items() if times > 1),
        phantom=frozenset(counted.keys() - load.sent),
        broken=(),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.hosts_soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the data goes")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="hosts-", dir=given.directory))
    directory.chmod(0o711)
    command = f"python -m tests.faults.hosts_soak --minutes {given.minutes:g} --seed {given.seed}"
    outcome = Outcome("three hosts of a PostgreSQL, a fault every few seconds", command, "-", seeds=str(given.seed))
    return outcome.play(lambda: run(Pace(given.minutes * 60, given.seed), directory, outcome), directory)


if __name__ == "__main__":
    sys.exit(main())
