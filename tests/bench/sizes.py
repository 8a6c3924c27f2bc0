"""Bytes of an event: in the log, in the log as `gzip -6` leaves it, in the archive; and
of a day's counters.

The events come as those of pages with a session, a referrer, two properties and one of
200 browsers, from 100,000 visitors, five in a request, go through a worker, and are
folded. All of them come within a minute or so, which makes the counters small: a real
day has 96 quarters of an hour. What stands in the log is read, and what the snapshot
says of its parts.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from foldlog.load.plan import AGENT
from foldlog.load.target import Target
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from tests.bench.memory import KEY, check_counted, send
from tests.bench.processes import worker

EVENTS = 300_000
BATCH = 5


class Sizes(NamedTuple):
    """Bytes of an event, and of the counters of the one day that they are of (of two
    around midnight).
    """

    events: int
    log: float
    gzip: float
    archive: float
    counters_of_day: float


def of_an_event(root: Path, events: int = EVENTS) -> Sizes:
    """Raises BenchError unless every event was stored and counted once."""
    data = DataDirectory(root / "sizes")
    with worker(data.root, FOLDLOG_INGEST_KEYS=KEY) as (_, port):
        head = (
            f"Host: bench.example\r\nUser-Agent: {AGENT}\r\nAccept-Language: de-DE,de;q=0.9\r\nAuthorization: "
            f"Bearer {KEY}\r\n"
        )
        sent = send(Target(host="127.0.0.1", port=port, headers=head), events, BATCH)
    check_counted(data.root, sent)
    segments = sealed_segments(data)
    days = load_snapshot(data).days.values()
    return Sizes(
        sent,
        sum(segment.bytes for segment in segments) / sent,
        sum(gzipped(segment.path) for segment in segments) / sent,
        sum(part.bytes for day in days for part in day.archive) / sent,
        sum(part.bytes for day in days for part in day.counters) / len(days),
    )


def gzipped(path: Path) -> int:
    """How many bytes gzip makes of a file."""
    return len(subprocess.run(["gzip", "-6", "--stdout", path], capture_output=True, check=True).stdout)  # noqa: S607


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        found = of_an_event(Path(root), given.events)
    print(
        f"bytes of an event ({found.events:,}): log {found.log:.0f}, gzip {found.gzip:.0f}, archive {found.archive:.1f}"
    )
    print(f"counters of a day: {found.counters_of_day / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
