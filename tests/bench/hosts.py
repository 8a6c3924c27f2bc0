"""What a report over three hosts of a PostgreSQL store costs, beside the same question
to one host that has all their events.

    python -m tests.bench.hosts [--days 30] [--events 66667] [--turns 9] [--directory D]

One process asks both in turns, as a reader does that was asked before: parts of other
hosts are in its cache. Both must give the same answer. CPU is that of this process and
its threads; what the database does in the meantime is in the wall time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest
from reports.reader.process import answer_report
from reports.reader.protocol import ReaderRequest
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.stores.address import FILE
from shared.stores.open_store import open_store
from tests.bench.reports import Share, make_month
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required

HOSTS = 3
_LAST_DAY = "2026-11-22"
_MEMORY = 1 << 30
QUESTIONS: dict[str, dict[str, str]] = {
    "events alone": {"visitors": "none"},
    "events by path": {"by": "path", "visitors": "none"},
    "by day": {"interval": "day"},
    "by path": {"by": "path"},
    "by path of one country": {"by": "path", "filter": "country==DE"},
}


class Took(NamedTuple):
    """Seconds."""

    cpu: float
    wall: float


def ask(data: DataDirectory, store: str, parameters: dict[str, str]) -> tuple[Took, dict[str, Any]]:
    """One answer of a reader, without what tells the hosts apart."""
    request = ReaderRequest(
        kind="report",
        data_dir=str(data.root),
        timezone="UTC",
        memory_bytes=_MEMORY,
        disk_reserve=0,
        format="json",
        parameters=parameters,
        now=datetime(2026, 12, 1, tzinfo=UTC),
        store=store,
        store_cache=4 << 30,
    )
    cpu, wall = time.process_time(), time.perf_counter()
    response, content = answer_report(request)
    took = Took(time.process_time() - cpu, time.perf_counter() - wall)
    if response.code:
        raise AssertionError(f"{response.code}: {response.detail}")
    answer = orjson.loads(content)
    return took, {name: answer[name] for name in ("rows", "total")}


def compare(hosts: DataDirectory, address: str, one: DataDirectory, span: dict[str, str], turns: int) -> None:
    """Print each question with the ratios of medians, of CPU and of wall time."""
    for name, question in QUESTIONS.items():
        took: dict[str, list[Took]] = {"hosts": [], "one": []}
        for turn in range(turns + 1):
            over_hosts, answer = ask(hosts, address, span | question)
            of_one, expected = ask(one, FILE, span | question)
            if answer != expected:
                raise AssertionError(f"{name}: {str(answer)[:300]}, and one host says {str(expected)[:300]}")
            if turn:  # the first one fetches
                took["hosts"].append(over_hosts)
                took["one"].append(of_one)
        cpu = [statistics.median(each.cpu for each in of) * 1000 for of in took.values()]
        wall = [statistics.median(each.wall for each in of) * 1000 for of in took.values()]
        sys.stdout.write(
            f"{name}: CPU {cpu[0]:.0f} / {cpu[1]:.0f} ms = {cpu[0] / cpu[1]:.2f}, "
            f"wall {wall[0]:.0f} / {wall[1]:.0f} ms = {wall[0] / wall[1]:.2f}\n"
        )
        sys.stdout.flush()


def publish(data: DataDirectory, address: str) -> None:
    settings = Settings(data_dir=data.root, store=address)
    publish_newest(data, settings, open_store(settings, instance_id(data)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--events", type=int, default=66_667, help="of a day, over all hosts")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--directory", type=Path, help="where the data goes")
    given = parser.parse_args()
    first = datetime.fromordinal(datetime.fromisoformat(_LAST_DAY).toordinal() - given.days + 1)
    span = {"from": f"{first:%Y-%m-%d}", "to": _LAST_DAY, "tz": "UTC"}
    with tempfile.TemporaryDirectory(dir=given.directory) as scratch:
        root = Path(scratch)
        root.chmod(0o711)
        one, *hosts = (DataDirectory(root / name / "data") for name in ("one", "a", "b", "c"))
        make_month(one, given.days, given.events).close()
        for number, data in enumerate(hosts):
            make_month(data, given.days, given.events, Share(number, HOSTS)).close()
        with running(required("system"), within=root) as database:
            address = database.database()
            for data in hosts:
                publish(data, address)
            compare(hosts[0], address, one, span, given.turns)


if __name__ == "__main__":
    main()
