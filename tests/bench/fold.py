"""The fold: events a second, peak memory, and what history costs. Each pass is a
process of its own, as the compactor is.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from compactor.process import compact_once
from compactor.threads import THREADS_MAX
from ingest.collect.encode import Line, encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.schema import LINE_COLUMNS
from shared.segments.recovery import next_sequence
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.timestamps import rfc3339
from tests.bench.load import AGENT
from tests.builders.silent_log import SilentLog

SEGMENT_EVENTS = 125_000  # about 64 MiB
# Every column of a line, as the fold reads it.
PARSED = {"v": "INTEGER", **LINE_COLUMNS}
DAY = datetime(2026, 11, 22, tzinfo=UTC)


def make_lines(
    count: int, day: datetime, seed: int, visitors: int = 100_000, paths: int = 10_000, version: int = 1
) -> Iterator[Line]:
    """Events of one day: so many visitors and paths, 200 user agents, 1 in 50 sent
    twice. `version` is that of the lines.
    """
    pick = random.Random(seed)
    start = int(day.timestamp() * 1000)
    last: Line | None = None
    for number in range(count):
        if last is not None and pick.random() < 0.02:
            yield last
            continue
        time_ms = start + number * 86_000_000 // count
        last = Line(
            v=version,
            id=uuid.UUID(int=pick.getrandbits(128)).hex,
            name=pick.choice(("pageview", "pageview", "pageview", "signup", "click")),
            time=rfc3339(time_ms),
            received=rfc3339(time_ms + 40),
            site="example.com",
            visitor=f"v{pick.randrange(visitors):08d}",
            url=f"https://example.com/articles/{pick.randrange(paths)}?utm_source=s{pick.randrange(5)}&utm_medium=mail",
            referrer=pick.choice(("https://www.example.org/search", "https://news.example.net/", None)),
            ua=AGENT.replace("131", str(pick.randrange(50, 250))),
            language=pick.choice(("de", "en", "fr")),
            country=pick.choice(("DE", "FR", "US", None)),
            consent="granted",
            props={"plan": pick.choice(("free", "pro"))},
        )
        yield last


def write_segments(data: DataDirectory, count: int, day: datetime, seed: int = 1, **spread: int) -> int:
    """Seal `count` events; `spread` is for make_lines. Returns how many different ones
    they are.
    """
    made = list(make_lines(count, day, seed, **spread))
    for start in range(0, count, SEGMENT_EVENTS):
        lines = made[start : start + SEGMENT_EVENTS]
        segment = ActiveSegment(data, "0", next_sequence(data, "0"), "os")
        segment.commit(encode_lines(lines), len(lines))
        segment.seal()
    return len({line.id for line in made})


def days(count: int) -> timedelta:
    return timedelta(days=count)


def make_history(data: DataDirectory, days: int, events: int) -> None:
    """Fold `events` events on each of the days before DAY."""
    for back in range(days, 0, -1):
        write_segments(data, events, DAY - timedelta(days=back), seed=1000 + back)
        if back % 30 == 1:
            compact_once(data, Settings(data_dir=data.root, log_retention_days=36_500), SilentLog())
    for segment in sealed_segments(data):
        segment.path.unlink()
        segment.checksum.unlink()


def measure(root: Path) -> dict[str, float]:
    """Fold what is sealed in a process of its own. Seconds are of its passes, memory is
    the peak of the process in MiB.
    """
    command = [sys.executable, "-m", "tests.bench.fold", str(root)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=3600)
    result: dict[str, float] = orjson.loads(done.stdout)
    return result


def parse_seconds(root: Path, columns: dict[str, str] = PARSED) -> float:
    """The floor: the same segments, only parsed by the same engine, with as many
    threads, into a table of these columns.
    """
    data = DataDirectory(root)
    files = [str(segment.path) for segment in sealed_segments(data)]
    wanted = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    with closing(connect(1 << 30, min(THREADS_MAX, len(os.sched_getaffinity(0))))) as database:
        started = time.perf_counter()
        database.execute(
            "CREATE TEMP TABLE parsed AS SELECT * FROM read_json($files, format = 'newline_delimited', "
            f"columns = {{{wanted}}})",
            {"files": files},
        )
        seconds = time.perf_counter() - started
        found = database.execute("SELECT count(*) FROM parsed").fetchone()
    if found != (sum(segment_lines(file) for file in files),):
        raise AssertionError(f"{found} lines were parsed")
    return seconds


def segment_lines(file: str) -> int:
    return Path(file).read_bytes().count(b"\n")


def fresh(root: Path) -> DataDirectory:
    data = DataDirectory(root)
    make_data_directory(data)
    return data


def main() -> None:
    data = DataDirectory(Path(sys.argv[1]))
    started = time.perf_counter()
    compact_once(data, Settings(data_dir=data.root, log_retention_days=36_500), SilentLog())
    seconds = time.perf_counter() - started
    # Not ru_maxrss: across an exec that keeps the peak of the process that started this
    # one.
    peak = next(line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM"))
    peak_mib = int(peak.split()[1]) / 1024
    sys.stdout.buffer.write(
        orjson.dumps({"seconds": seconds, "peak_mib": peak_mib, "counted": load_snapshot(data).totals.counted})
    )


if __name__ == "__main__":
    main()
