"""Exact visitors by path over a month of events without a filter, within the memory of
a report.

The month is written as the files of format 2 that docs/formats.md describes, by the
engine alone: any checkout reads them, and none needs an hour to fold them. The answer
is compared with a count of the same numbers that is not Foldlog's.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.schema import COUNTED_DIMENSIONS
from shared.timestamps import now_ms, rfc3339
from tests.bench import fold
from tests.bench.checkout import Checkout, Costs, ask, cpu_seconds, family, resident_mib, started
from tests.bench.compacting import NEVER
from tests.bench.figures import Figure

DAYS = 30
DAY_EVENTS = 2_000_000
MEMORY = "256MiB"
ANSWER_S = 600.0
WANTED_S = 15.0
LIMIT = 20
_LAST_DAY = date(2026, 11, 22)
_COPY = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2"

# 120,000 visitors a day, of whom half were there on another day of the week; 5,000
# paths, the first of them far more often than the last.
_EVENTS = """
    CREATE OR REPLACE TEMP TABLE events AS
    SELECT i, time, (hash(i || '#visitor' || $day) % 120000 + 60000 * (day($day::DATE) % 7))::INTEGER AS visitor,
        (5000 * pow((hash(i || '#path' || $day) % 100000) / 100000.0, 3))::INTEGER AS path
    FROM (
        SELECT i, $day::TIMESTAMP + to_microseconds((i * 86399000000 // $count)::BIGINT // 1000 * 1000) AS time
        FROM range($count) t(i)
    )
"""
_ARCHIVE = """
    SELECT NULL::VARCHAR AS client_id, unhex(left(md5(i || '#id' || $day), 20)) AS random_id,
        'https://example.com' AS url_head, '' AS url_tail,
        NULL::VARCHAR AS referrer_head, NULL::VARCHAR AS referrer_tail, 'pageview' AS event,
        time::TIMESTAMP_MS AS time, time::TIMESTAMP_MS AS received, 'example.com' AS site,
        left(md5(visitor::VARCHAR), 16) AS visitor, NULL::VARCHAR AS session, NULL::VARCHAR AS ua,
        NULL::VARCHAR AS language, NULL::VARCHAR AS country, 'granted' AS consent, NULL::DOUBLE AS value,
        NULL::VARCHAR AS props, '/articles/' || path AS path, NULL::VARCHAR AS referrer,
        NULL::VARCHAR AS utm_source, NULL::VARCHAR AS utm_medium, NULL::VARCHAR AS utm_campaign,
        NULL::VARCHAR AS browser, NULL::VARCHAR AS os, NULL::VARCHAR AS device, false AS bot
    FROM events
"""
_COUNTERS = """
    SELECT time_bucket(INTERVAL {bucket}, time) AS bucket, 'example.com' AS site, false AS bot, 'pageview' AS event,
        '{dimension}' AS dimension, {value} AS value, count(*) AS events, NULL::BIGINT AS visitors
    FROM events GROUP BY ALL
"""


def costs(checkout: Checkout, root: Path) -> Costs:
    data = fold.fresh(root / "data")
    with closing(connect(2 << 30, 2, root / "spill")) as database:
        make_month(database, data)
        expected, visitors = _counted(database)
    with started(
        checkout, data.root, "/readyz", "serve", FOLDLOG_REPORT_MEMORY=MEMORY, FOLDLOG_REPORT_TIMEOUT="600"
    ) as (
        pid,
        port,
    ):
        ask(port, "/admin/api/report?from=2020-01-01&to=2020-01-01")  # the reader is started
        before = cpu_seconds(family(pid))
        answer = _answer(port)
        seconds = cpu_seconds(family(pid)) - before if answer else NEVER
        most = max(resident_mib([each], "VmHWM:") for each in family(pid))
    if answer:
        shown = {row["value"]: (row["events"], row["visitors"]) for row in answer["rows"]}
        if shown != expected or answer["total"] != {"events": DAYS * DAY_EVENTS, "visitors": visitors}:
            raise AssertionError(f"the report says {shown}, {answer['total']}; counted were {expected}, {visitors}")
    what = f"exact visitors by path, {DAYS * DAY_EVENTS:,} events, {MEMORY}"
    return {f"{what}: CPU s": seconds, f"{what}: memory of the reader at most, MiB": most}


def _answer(port: int) -> dict[str, Any]:
    """Empty where the report is refused."""
    span = f"from={_LAST_DAY - timedelta(days=DAYS - 1)}&to={_LAST_DAY}"
    try:
        answer: dict[str, Any] = json.loads(ask(port, f"/admin/api/report?{span}&by=path&limit={LIMIT}", ANSWER_S))
    except OSError:
        return {}
    return answer


def make_month(database: duckdb.DuckDBPyConnection, data: DataDirectory) -> None:
    """Publish the days, and keep in the tables `paths` and `seen` what they hold."""
    database.execute("CREATE TABLE paths (path INTEGER, events BIGINT)")
    database.execute("CREATE TABLE seen (path INTEGER, visitor INTEGER)")
    database.execute("CREATE TABLE everybody (visitor INTEGER)")
    days = {}
    for back in reversed(range(DAYS)):
        day = _LAST_DAY - timedelta(days=back)
        database.execute(_EVENTS, {"day": day, "count": DAY_EVENTS})
        database.execute("INSERT INTO paths SELECT path, count(*) FROM events GROUP BY ALL")
        database.execute("INSERT INTO seen SELECT DISTINCT path, visitor FROM events WHERE path < 2 * $1", [LIMIT])
        database.execute("INSERT INTO everybody SELECT DISTINCT visitor FROM events")
        archive = _part(database, data.part("archive", day, 1), _ARCHIVE, {"day": day})
        counters = _part(database, data.part("counters", day, 1), _counters_sql(), {})
        days[str(day)] = {"added_at": rfc3339(now_ms()), "archive": [archive], "counters": counters}
    events = DAYS * DAY_EVENTS
    totals = dict.fromkeys(("lines", "counted"), events) | dict.fromkeys(
        ("duplicates", "conflicts", "quarantined", "damaged_segments", "erased"), 0
    )
    _publish(data, {"generation": 1, "as_of": rfc3339(now_ms()), "folded": {}, "totals": totals, "days": days})


def _counters_sql() -> str:
    values = {"total": "NULL::VARCHAR", **dict.fromkeys(COUNTED_DIMENSIONS, "NULL::VARCHAR")}
    values["path"] = "'/articles/' || path"
    buckets = {"": "15 minutes", "/day": "1 day"}
    return " UNION ALL ".join(
        _COUNTERS.format(bucket=bucket, dimension=dimension + suffix, value=value)
        for dimension, value in values.items()
        for suffix, bucket in buckets.items()
    )


def _part(database: duckdb.DuckDBPyConnection, path: Path, sql: str, values: dict[str, Any]) -> dict[str, Any]:
    path.parent.mkdir(parents=True)
    (rows,) = database.execute(f"COPY ({sql}) TO '{path}' ({_COPY})", values).fetchone() or (0,)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"generation": 1, "rows": rows, "bytes": path.stat().st_size, "sha256": digest}


def _publish(data: DataDirectory, content: dict[str, Any]) -> None:
    text = json.dumps({"format": 2, **content}, indent=1).encode().removesuffix(b"\n}") + b",\n"
    data.snapshot.write_bytes(text + b' "sha256": "%b"\n}\n' % hashlib.sha256(text).hexdigest().encode())


def _counted(database: duckdb.DuckDBPyConnection) -> tuple[dict[str, tuple[int, int]], int]:
    """(events, visitors) of the paths with the most events, and all visitors."""
    rows = database.execute(
        "SELECT '/articles/' || path, n, (SELECT count(DISTINCT visitor) FROM seen s WHERE s.path = p.path) "
        "FROM (SELECT path, sum(events)::BIGINT AS n FROM paths GROUP BY ALL) p "
        "ORDER BY n DESC, '/articles/' || path LIMIT $1",
        [LIMIT],
    ).fetchall()
    (visitors,) = database.execute("SELECT count(DISTINCT visitor) FROM everybody").fetchone() or (0,)
    return {path: (events, found) for path, events, found in rows}, visitors


def figures(found: Costs) -> list[Figure]:
    (seconds, most), (what, of) = found.values(), found
    return [
        Figure(what, seconds, "{:.1f} s", WANTED_S, less_is_better=True),
        Figure(of, most, "{:,.0f} MiB", less_is_better=True),
    ]
