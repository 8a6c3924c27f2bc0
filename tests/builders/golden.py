"""Makes a data directory with everything that one may hold, and what is read of it: run
once per release, and kept.

    python -m tests.builders.golden tests/data/golden/0.1.0.tar.gz

What is kept is never made again: tests/shared/generations/test_golden.py reads the
directories of every release with the code of today.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment
from reports.export import export, room_for_export
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.segments.recovery import next_sequence
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.timestamps import DAY_S
from tests.builders.logs import FIREFOX, GOOGLEBOT, NOON, data_directory, fold, line, sealed

DAY_MS = DAY_S * 1000
SETTINGS: dict[str, Any] = {
    "sites": ("example.com", "shop.example.com"),
    "archive_retention_days": 7,
    "log_retention_days": 5,
    "max_values": 10,
}
QUERIES = (
    {"from": "2026-11-01", "to": "2026-11-30", "interval": "day"},
    {"from": "2026-11-01", "to": "2026-11-30", "by": "path", "limit": "1000"},
    {"from": "2026-11-01", "to": "2026-11-30", "by": "site", "bots": "include"},
    {"from": "2026-11-18", "to": "2026-11-30", "by": "props.plan"},
    {"from": "2026-11-18", "to": "2026-11-30", "by": "referrer", "filter": "country==DE"},
)


def fill(data: DataDirectory) -> None:
    """Two weeks of days: some expired, all capped, a compressed segment, and what a
    killed worker left.
    """
    for day in range(14):
        noon = NOON - (13 - day) * DAY_MS
        visits = [
            line(
                f"day-{day}-visit-{number:03d}",
                noon + number * 60_000,
                visitor=f"visitor-{number % 7}",
                session=f"session-{day}-{number % 7}",
                url=f"https://example.com/page/{number % 15}?utm_source=news%20letter",
                referrer="https://www.example.org/where/from" if number % 2 else None,
                language="de",
                country="DE" if number % 3 else "FR",
                ua=GOOGLEBOT if number % 11 == 0 else FIREFOX,
            )
            for number in range(40)
        ]
        orders = [
            line(
                f"day-{day}-order-{n}",
                noon,
                name="order",
                site="shop.example.com",
                value=9.5 * n,
                props={"plan": "pro", "n": n},
            )
            for n in range(3)
        ]
        sealed(data, [*visits, *visits[:5]])
        sealed(data, orders, writer="1")
        fold(data, noon + 3_600_000, **SETTINGS)
    first = sealed_segments(data)[0].path
    first.with_name(f"{first.name}.gz").write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    sealed(data, [line("not-yet-folded", NOON + 7_200_000, url="https://example.com/late")])
    orphan = ActiveSegment(data, "1", next_sequence(data, "1"), "fsync")
    orphan.commit(encode_lines([line("of-a-killed-worker", NOON + 7_200_000, url="https://example.com/killed")]), 1)
    orphan.close()
    with data.active("1").open("ab") as file:
        file.write(b'{"v":1,"id":"torn')


def read(data: DataDirectory) -> dict[str, Any]:
    """What reports and an export say of a directory."""
    settings = Settings(data_dir=data.root, **SETTINGS)
    now = datetime.fromtimestamp(NOON / 1000, UTC)
    with closing(connect(settings.report_memory, 2)) as database:
        reports = [make_report(database, data, load_snapshot(data), parse(query, now, "UTC")) for query in QUERIES]
    exported, query = io.BytesIO(), parse({"from": "2026-11-01", "to": "2026-11-30"}, now, "UTC")
    with room_for_export(data, settings.report_memory, 0) as room:
        export(room, data, load_snapshot(data), query, "ndjson", exported)
    for report in reports:
        report.pop("generation"), report.pop("as_of")
    events = sorted(exported.getvalue().decode("utf-8").splitlines())
    found: dict[str, Any] = json.loads(json.dumps({"reports": reports, "events": events}))
    return found


def main() -> None:
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        data = data_directory(Path(place) / "data")
        fill(data)
        (Path(place) / "read.json").write_text(json.dumps(read(data), indent=1), "utf-8")
        with tarfile.open(target, "w:gz", compresslevel=9) as tar:
            for name in ("data", "read.json"):
                tar.add(Path(place) / name, name, filter=_nobodys)


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
