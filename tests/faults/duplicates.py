"""A fleet that repeats itself: three in ten sends are ids that were sent before, and
every id must count once.

    python -m tests.faults.duplicates [--sends 1000000] [--seed 1] [--kills 40]
        [--directory DIR]

The same ids come at once through both workers, twice in one batch, across rotations and
folds, after a worker or the compactor was killed, and after a proxy lost the answer
200. Some repeats say something else: what was received first counts. The number of ids
in the report and in the archive must be the number of ids that were acknowledged.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from tests.builders.server import Server
from tests.faults.clients import Batch, Client, batch_of, sending, unexpected, wait_for
from tests.faults.lossy_proxy import LossyProxy
from tests.faults.oracle import acknowledged, find_violations, intended
from tests.faults.outcome import Outcome, file_system
from tests.faults.random_kills import (
    COMPACTOR,
    EVERYTHING,
    MEND_TIMEOUT_S,
    WORKERS,
    children,
    fold,
    kill_child,
    wait_until,
)

CLIENTS = 4
REPEATS = 0.3
CONFLICTS = 0.05  # of the repeats
LOSS = 0.1  # of the answers through the proxy
STRETCH = 3_000  # new ids of a client after which it has other favourites
FAVOURITES = (0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7)
# The last of them also makes the supervisor forget how often the others died: it would
# wait longer each time.
VICTIMS = ("ingest-0", COMPACTOR, "ingest-1", EVERYTHING)
TIMEOUT_S = 3_000.0


@dataclass(frozen=True)
class Load:
    """What a fleet sends, and how its run is disturbed."""

    sends: int = 1_000_000
    seed: int = 1
    kills: int = 40
    sizes: tuple[int, ...] = (1, 10, 100, 500, 500, 500, 500)
    pause_s: float = 0.25  # between two batches of a client: the disturbances are to come while it sends


def plan(load: Load, client: int) -> Iterator[Batch]:
    """The batches of one client: the same for the same load, whatever the timing."""
    pick = random.Random(f"{load.seed}-{client}")
    left = load.sends // CLIENTS
    number = 0
    while left:
        size = min(left, pick.choice(load.sizes))
        left -= size
        events = []
        for _ in range(size):
            if number and pick.random() < REPEATS:
                events.append(_repeat(pick, number))
            else:
                events.append(_event(client, number, 1))
                number += 1
        yield batch_of(events)


def _repeat(pick: random.Random, number: int) -> dict[str, Any]:
    """An event of any client of the fleet: one of this moment, one of any time before,
    or a favourite of these days.
    """
    kind = pick.randrange(3)
    if kind == 0:
        other = max(0, number - pick.randrange(1, 200))
    elif kind == 1:
        other = pick.randrange(number)
    else:
        other = min(number, number // STRETCH * STRETCH + pick.choice(FAVOURITES))
    return _event(pick.randrange(CLIENTS), other, 2 if pick.random() < CONFLICTS else 1)


def _event(client: int, number: int, value: int) -> dict[str, Any]:
    return {"name": "pageview", "id": f"dup{client}-{number:08d}", "visitor": "v-faults", "value": value}


@dataclass
class Ledgers:
    """What each generation had folded, seen from outside: which copies were folded by
    different passes.
    """

    folded: dict[int, dict[str, int]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self, snapshot: Path) -> None:
        while not self.ended.wait(0.05):
            with suppress(FileNotFoundError):
                read = json.loads(snapshot.read_bytes())
                self.folded[read["generation"]] = read["folded"]

    def generation(self, writer: str, sequence: int) -> int:
        """The first that was seen with this segment."""
        return min((number for number, folded in self.folded.items() if folded.get(writer, 0) >= sequence), default=0)


def run(load: Load, directory: Path, outcome: Outcome) -> Covered:
    """One fleet on a new data directory."""
    ledgers = Ledgers()
    with Server(directory, workers=WORKERS, segment_max_bytes=1 << 20, segment_max_age=1, fold_interval=1) as server:
        watcher = threading.Thread(target=ledgers.watch, args=(server.data.snapshot,), daemon=True)
        watcher.start()
        with LossyProxy(server.port, LOSS, load.seed) as proxy:
            ports = (proxy.port, *(server.port,) * (CLIENTS - 1))
            clients = [
                Client(port, directory, f"fleet{n}", plan(load, n), load.pause_s) for n, port in enumerate(ports)
            ]
            with sending(clients):
                kills = disturb(server, clients, load)
                wait_for(clients, TIMEOUT_S)
        wait_until(lambda: len(children(server)) == WORKERS + 1, MEND_TIMEOUT_S)
        fold(server)
        total = server.get("/admin/api/report", bots="include").json()["total"]["events"]
        balance = server.get("/admin/api/status").json()["balance"]
        ledgers.ended.set()
        watcher.join()
    sent, acked = intended(directory), acknowledged(directory)
    outcome.add(find_violations(server.data.root, sent, acked, folded=True), len(acked), f"seed {load.seed}")
    copies = read_copies(server.data.root)
    # Each line of the log is a run: each but the first of an id might have been the one
    # that counts twice.
    outcome.runs = outcome.points = sum(len(each) for each in copies.values())
    outcome.failures += unexpected(clients)
    outcome.failures += check_counts(sent, acked, total, balance, copies)
    outcome.failures += check_first_wins(server.data.root, copies)
    return make_covered(clients, kills, proxy.lost, copies, ledgers)


def disturb(server: Server, clients: Sequence[Client], load: Load) -> int:
    """Each time that so much more was sent, kill something; halfway between, ask for a
    fold. Returns how many it killed.
    """
    for number in range(load.kills):
        for halves, act in ((1, fold), (2, partial(kill, victim=VICTIMS[number % len(VICTIMS)]))):
            threshold = load.sends * (2 * number + halves) // (2 * load.kills + 1)
            wait_until(lambda: has_sent(clients, threshold), TIMEOUT_S)  # noqa: B023  called before it changes
            if not any(client.is_alive() for client in clients):
                return number
            act(server)
        if number % 10 == 9:
            print(f"{number + 1} kills, {threshold:,} sends", file=sys.stderr, flush=True)
    return load.kills


def has_sent(clients: Sequence[Client], count: int) -> bool:
    return sum(client.sends for client in clients) >= count or not any(client.is_alive() for client in clients)


def kill(server: Server, victim: str) -> None:
    if victim == EVERYTHING:
        server.kill()
        server.start()
    else:
        kill_child(server, victim)


# (received, value, writer, sequence) of each copy of an id in the log, all of which is
# retained.
Copies = dict[str, list[tuple[str, float, str, int]]]


def read_copies(root: Path) -> Copies:
    """Every line of the sealed segments, in order."""
    copies: Copies = {}
    for path in sorted((root / "log").glob("*Z-*.ndjson")):
        _, writer, sequence = path.stem.split("-")
        for line in path.read_bytes().splitlines():
            event = json.loads(line)
            copies.setdefault(event["id"], []).append((event["received"], event["value"], writer, int(sequence)))
    return copies


def check_counts(sent: set[str], acked: set[str], total: int, balance: dict[str, int], copies: Copies) -> list[str]:
    """Each id once: in the report, in the status, and the balance of all lines."""
    lines = sum(len(each) for each in copies.values())
    differing = sum(len({value for _, value, _, _ in each}) > 1 for each in copies.values())
    arrived = len(acked | (sent & copies.keys()))
    checks = {
        f"the report counts {total}, {arrived} ids arrived": total == arrived,
        f"the status counts {balance['counted']}, {arrived} ids arrived": balance["counted"] == arrived,
        f"the balance is off by {balance['difference']}": balance["difference"] == 0,
        f"{balance['duplicates']} duplicates of {lines} lines with {arrived} ids": balance["duplicates"]
        == lines - arrived,
        # Of an id whose copies differ at least one is a conflict; how many depends on
        # which meet in one pass.
        f"{balance['conflicts']} conflicts, {differing} ids differ": differing
        <= balance["conflicts"]
        <= balance["duplicates"],
    }
    return [failure for failure, holds in checks.items() if not holds]


def check_first_wins(root: Path, copies: Copies) -> list[str]:
    """What is archived of an id is the copy that was received first, or one of the same
    millisecond.
    """
    wrong = []
    for id_, received, value in archived(root):
        first = min(each[0] for each in copies[id_])
        if received != first or value not in {each[1] for each in copies[id_] if each[0] == first}:
            wrong.append(id_)
    return [f"of {len(wrong)} ids a later copy counts, such as {wrong[:3]}"] if wrong else []


def archived(root: Path) -> list[tuple[str, str, float]]:
    """(id, received, value) of all parts that the snapshot names."""
    days = json.loads((root / "snapshot.json").read_bytes())["days"].items()
    paths = [
        str(root / "archive" / day / f"g{part['generation']:010d}.parquet")
        for day, kept in days
        for part in kept["archive"]
    ]
    id_ = "coalesce(client_id, printf('%011x', epoch_ms(received)) || lower(hex(random_id)))"
    sql = f"SELECT {id_}, strftime(received, '%Y-%m-%dT%H:%M:%S.%gZ'), value FROM read_parquet($1)"
    with duckdb.connect(config={"threads": 1}) as database:
        return database.execute(sql, [paths]).fetchall()


@dataclass(frozen=True)
class Covered:
    """How many ids were repeated in which way, so that a run that repeats nothing
    shows.
    """

    kills: int
    passes: int  # that were seen
    sends: int  # events in requests that went out
    unanswered: int  # requests
    answers_lost: int  # answers 200 that the proxy did not pass on
    lines: int  # of the log
    ids: int
    on_both_workers: int
    in_several_segments: int
    in_several_passes: int
    twice_or_more: int
    hundred_times_or_more: int
    most_copies: int


def make_covered(clients: Sequence[Client], kills: int, lost: int, copies: Copies, ledgers: Ledgers) -> Covered:
    generations = {key: ledgers.generation(*key) for each in copies.values() for key in {copy[2:] for copy in each}}
    times = [len(each) for each in copies.values()]
    return Covered(
        kills=kills,
        passes=len(ledgers.folded),
        sends=sum(client.sends for client in clients),
        unanswered=sum(client.unanswered for client in clients),
        answers_lost=lost,
        lines=sum(times),
        ids=len(times),
        on_both_workers=count(copies, lambda copy: copy[2]),
        in_several_segments=count(copies, lambda copy: copy[2:]),
        in_several_passes=count(copies, lambda copy: generations[copy[2:]]),
        twice_or_more=sum(n > 1 for n in times),
        hundred_times_or_more=sum(n >= 100 for n in times),
        most_copies=max(times, default=0),
    )


def count(copies: Copies, key: Any) -> int:
    """Ids whose copies differ in something."""
    return sum(len({key(copy) for copy in each}) > 1 for each in copies.values() if len(each) > 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.duplicates", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--sends", type=int, default=Load.sends)
    parser.add_argument("--seed", type=int, default=Load.seed)
    parser.add_argument("--kills", type=int, default=Load.kills)
    parser.add_argument("--directory", type=Path, help="where the data goes (a temporary directory)")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="duplicates-", dir=given.directory))
    command = f"python -m tests.faults.duplicates --sends {given.sends} --seed {given.seed} --kills {given.kills}"
    outcome = Outcome(
        "ids sent again, lost answers, kills between", command, file_system(directory), seeds=str(given.seed)
    )
    load = Load(given.sends, given.seed, given.kills)
    return outcome.play(lambda: [run(load, directory, outcome)], directory)


if __name__ == "__main__":
    sys.exit(main())
