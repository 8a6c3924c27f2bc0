"""What the archive and the counters of a data directory hold, read for tests."""

from __future__ import annotations

from collections import Counter
from typing import Any

from compactor.repair.verify import verify
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.settings import Settings
from shared.sql.archive_events import from_archive_sql

HOUR_MS = 3_600_000


def counters(data: DataDirectory) -> list[tuple[Any, ...]]:
    """Everything that the counters say, in order: the sum of each key over all
    parts.
    """
    sums: Counter[tuple[Any, ...]] = Counter()
    for *key, events, visitors in _rows(data, "counters"):
        sums[*key, visitors] += events
    return [(*key, events, visitors) for (*key, visitors), events in sums.items() if events or visitors]


def archived(data: DataDirectory) -> list[tuple[Any, ...]]:
    return _rows(data, "archive")


def _rows(data: DataDirectory, kind: str) -> list[tuple[Any, ...]]:
    paths = []
    for day, kept in load_snapshot(data).days.items():
        named = kept.archive if kind == "archive" else kept.counters
        paths += [str(data.part(kind, day, part.generation)) for part in named]
    if not paths:
        return []
    with connect(256 << 20, 1) as database:
        source = from_archive_sql("read_parquet($1)") if kind == "archive" else "read_parquet($1)"
        return database.execute(f"SELECT * FROM {source} ORDER BY ALL", [paths]).fetchall()


def assert_verified(data: DataDirectory, **changes: Any) -> None:
    findings = verify(data, Settings(data_dir=data.root, **changes), lambda _step: None).findings
    assert findings == [], findings
