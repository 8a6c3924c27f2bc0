"""Two hosts of a ClickHouse of two shards under load, with a PostgreSQL beside it and a
fault every few seconds: at the end each acknowledged id is in the cluster once.

    python -m tests.faults.clickhouse_soak [--minutes 20] [--seed 1] [--directory DIR]

One event in ten is sent to both hosts, on a neighbouring day. The faults: SIGKILL of a
worker, of a compactor, of a host; a host that is off for a while; a shard killed, both
at once, or stopped for a while; connections to the shards cut; the PostgreSQL killed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.stores.clickhouse.cluster import parse_cluster
from tests.builders.clickhouse import ClickHouseServer, Shards
from tests.builders.clickhouse import running as shards_running
from tests.builders.cut_requests import CutRequests, cutting
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required
from tests.builders.server import Server
from tests.faults import hosts_soak
from tests.faults.hosts_soak import SETTLE_S, Load, Pace, compare, keep_at_it, serving
from tests.faults.outcome import Outcome, file_system

HOSTS = 2
CUTS = 20


@dataclass
class Soak(hosts_soak.Soak):
    """One run: what the faults share."""

    shards: list[ClickHouseServer] = field(default_factory=list)
    cuts: list[CutRequests] = field(default_factory=list)

    def shard(self) -> ClickHouseServer:
        return self.pick.choice(self.shards)


def kill_shard(soak: Soak) -> None:
    shard = soak.shard()
    shard.kill()
    soak.hold()
    shard.start()


def kill_both_shards(soak: Soak) -> None:
    for shard in soak.shards:
        shard.kill()
    for shard in soak.shards:
        shard.start()


def stop_shard_for_a_while(soak: Soak) -> None:
    shard = soak.shard()
    shard.stand_still()
    try:
        soak.hold()
    finally:
        shard.go_on()


def cut_connections(soak: Soak) -> None:
    """Now and then for a while, whatever is on its way."""
    for _ in range(CUTS):
        soak.cuts[0].cut_all()
        time.sleep(soak.hold_s[1] / CUTS * soak.pick.random())


def cut_requests(soak: Soak) -> None:
    """One of the next, at a side of its own."""
    soak.cuts[0].next_at(soak.pick.randint(1, 12), soak.pick.choice(["request", "middle", "answer"]))
    soak.hold()
    soak.cuts[0].next_at(None)


Fault = Callable[[Soak], None]
FAULTS: tuple[Fault, ...] = (
    hosts_soak.kill_worker,
    hosts_soak.kill_compactor,
    hosts_soak.kill_host,
    hosts_soak.switch_host_off,
    hosts_soak.kill_database,
    kill_shard,
    kill_both_shards,
    stop_shard_for_a_while,
    cut_connections,
    cut_requests,
)


def run(pace: Pace, directory: Path, outcome: Outcome) -> list[str]:
    """Soak two new directories. Returns what is to be printed."""
    with (
        running(required("system"), within=directory) as database,
        shards_running(HOSTS) as shards,
        cutting(shards.database()) as cut,
        serving(directory, HOSTS, {"FOLDLOG_STORE": cut.address, "DATABASE_URL": database.database()}) as servers,
    ):
        outcome.file_system = file_system(servers[0].data.root)
        address = servers[0].environ["DATABASE_URL"]
        soak = Soak(
            servers,
            database,
            address,
            random.Random(pace.seed),
            pace.hold_s,
            shards=list(shards.servers),
            cuts=[cut],
        )
        with Load(servers, pace) as load, suppress(KeyboardInterrupt):  # the row then says how many there were
            keep_at_it(soak, load, pace, FAULTS)
        counted = settled(shards, cut.address, servers, load)
        violations = compare(counted, load)
        refused = sum(each.refused for each in load.of_clients)
    outcome.add(violations, len(load.acknowledged), f"seed {pace.seed}, {dict(soak.done)}")
    outcome.points = outcome.runs = soak.done.total()
    outcome.failures += soak.failures
    return [f"faults: {dict(sorted(soak.done.items()))}", f"{counted.total():,} events counted, {refused:,} refusals"]


def settled(shards: Shards, address: str, servers: list[Server], load: Load) -> Counter[str]:
    """How often each id counts, once every host has published what it has."""
    deadline, last = time.monotonic() + SETTLE_S, Counter[str]()
    while time.monotonic() < deadline:
        counted = counted_ids(shards, address)
        if counted == last and counted.keys() >= load.acknowledged and all(map(is_published, servers)):
            return counted
        last = counted
        time.sleep(3)
    return last


def is_published(server: Server) -> bool:
    """Everything, as its status says."""
    found = server.get("/admin/api/status").json()
    return not found["balance"]["not_yet_folded"] and found["store"]["generation"] == found["generation"]


def counted_ids(shards: Shards, address: str) -> Counter[str]:
    """How often each id counts, over both shards."""
    name = parse_cluster(address).database
    return Counter(shards.ask(f"SELECT id FROM {name}.analytics_events_all FINAL").splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.clickhouse_soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the data goes")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="clickhouse-soak-", dir=given.directory))
    directory.chmod(0o711)
    command = f"python -m tests.faults.clickhouse_soak --minutes {given.minutes:g} --seed {given.seed}"
    outcome = Outcome(
        "two hosts of a ClickHouse of two shards, a fault every few seconds", command, "-", seeds=str(given.seed)
    )
    return outcome.play(lambda: run(Pace(given.minutes * 60, given.seed), directory, outcome), directory)


if __name__ == "__main__":
    sys.exit(main())
