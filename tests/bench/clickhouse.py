"""What ClickHouse costs as a store: shipping a generation and an archive, bytes an
event, and reports over it, beside DuckDB's on the same host.

    python -m tests.bench.clickhouse [--days 30] [--events 2000000] [--directory DIR]

The servers are those of the tests: an old one as two shards, and today's engine behind
a shim, on the machine that ships and asks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from compactor.process import compact_once
from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest
from reports.cluster.cluster_store import ClusterStore
from reports.hosts.asked import Asked
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.settings import Settings
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.open_store import open_store
from tests.bench import fold
from tests.bench.processes import cpu_seconds
from tests.bench.reports import make_month
from tests.builders.clickhouse_kinds import running
from tests.builders.clickhouse_today import TodaysClickHouse
from tests.builders.silent_log import SilentLog

SHIPPED = 100_000
TURNS = 3
MERGE_S = 1_800.0
_SPAN = {"from": "2026-10-24", "to": "2026-11-22"}
QUESTIONS: dict[str, dict[str, str]] = {
    "top paths": {"by": "path", "visitors": "none", "filter": "country!="},
    "top paths with visitors": {"by": "path"},
    "filtered visitors": {"filter": "country==DE"},
    "by day": {"interval": "day"},
}


def ship(data: DataDirectory, address: str) -> float:
    """Seconds of a publish."""
    settings = Settings(data_dir=data.root, store=address)
    store = open_store(settings, instance_id(data))
    since = time.perf_counter()
    publish_newest(data, settings, store)
    return time.perf_counter() - since


def ship_generations(root: Path, kind: str) -> None:
    """Each of so many events, onto a day that has some."""
    with running(kind) as servers:
        data, address = fold.fresh(root / kind), servers.database()
        took = []
        for turn in range(TURNS + 1):
            fold.write_segments(data, SHIPPED if turn else 1_000, fold.DAY, seed=turn)
            compact_once(data, Settings(data_dir=data.root), SilentLog())
            took.append(ship(data, address))
        print(f"{kind}: {SHIPPED:,} events in {statistics.median(took[1:]):.2f} s, {_listed(took[1:])}")


def ask_both(data: DataDirectory, address: str, given: Mapping[str, str], spill: Path, server: int) -> None:
    """In turns. `server`: its process id. Where other programmes run the seconds of the
    processors say more than those of the clock.
    """
    query = parse({**_SPAN, **given}, datetime(2026, 12, 1, tzinfo=UTC), "UTC")
    cluster, snapshot = ClusterStore(data, address), load_snapshot(data)
    with closing(connect(1 << 30, 2, spill)) as database:
        asked: dict[str, Callable[[], object]] = {
            "ClickHouse": lambda: cluster.report(Asked(query, "UTC"))["rows"],
            "DuckDB": lambda: make_report(database, data, snapshot, query)["rows"],
        }
        took: dict[str, list[float]] = {name: [] for name in asked}
        used: dict[str, list[float]] = {name: [] for name in asked}
        answers = {}
        for _ in range(TURNS):
            for name, ask in asked.items():
                since, cpu_since = time.perf_counter(), _cpu(server)
                answers[name] = ask()
                took[name].append(time.perf_counter() - since)
                used[name].append(_cpu(server) - cpu_since)
    assert answers["ClickHouse"] == answers["DuckDB"], given
    for what, measured in (("of the clock", took), ("of processors", used)):
        of_cluster, of_duckdb = (statistics.median(each) for each in measured.values())
        print(f"  {of_cluster:.2f} s / {of_duckdb:.2f} s {what} = {of_cluster / of_duckdb:.2f}", flush=True)


def _cpu(server: int) -> float:
    """Of the server, and of this process, in which DuckDB runs."""
    return cpu_seconds(server) + time.process_time()


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--days", type=int, default=30)
    given.add_argument("--events", type=int, default=2_000_000)
    given.add_argument("--directory", type=Path, help="a data directory of such a month that is there already")
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("shards", "today"):
            ship_generations(Path(scratch), kind)
        data = DataDirectory(options.directory or Path(scratch) / "month")
        if options.directory is None:
            make_month(data, options.days, options.events).close()
        with running("today") as servers:
            assert isinstance(servers, TodaysClickHouse)
            address = servers.database()
            events, took = options.days * options.events, ship(data, address)
            print(f"today: {events:,} events in {took:.0f} s, {took / events * 1e7:.0f} s for 10,000,000")
            table = f"{parse_cluster(address).database}.analytics_events"
            servers.ask(f"OPTIMIZE TABLE {table} FINAL", MERGE_S)
            of = "FROM system.parts WHERE active AND table = 'analytics_events'"
            print(f"today: {float(servers.ask(f'SELECT sum(bytes_on_disk) / sum(rows) {of}')):.1f} bytes an event")
            print(f"load {os.getloadavg()[0]:.1f}")
            for name, question in QUESTIONS.items():
                print(name, flush=True)
                ask_both(data, address, question, Path(scratch) / "spill", servers.pid)


def _listed(took: list[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in took)


if __name__ == "__main__":
    main()
