"""Reports over a month of events: from the counters alone, and filtered, with exact
visitors, from the archive.

The archive is made by what writes it in service (compactor.generations.part_writer), of
events that the engine makes up: each day comes in two parts, which a pass of the day
after settles; the last day is as a backlog leaves it. The answers come over HTTP from
`foldlog serve`, each to a question that was not asked before; every one of them is
compared with a count of the same events that is not Foldlog's.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import duckdb
import orjson

from compactor.context import PassContext, pass_context
from compactor.fold.counters import count_new_events
from compactor.fold.working_tables import IncomingLines, NewEvents
from compactor.generations.commit import commit
from compactor.generations.day_merge import days_to_merge, merge_step
from compactor.generations.part_writer import write_day
from compactor.lock import compactor_lock
from compactor.run_pass import next_snapshot
from foldlog.load.target import Target, ask
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day, Snapshot
from shared.settings import Settings
from shared.timestamps import DAY_S, now_ms
from tests.bench.processes import serving
from tests.builders.silent_log import SilentLog

DAYS = 30
EVENTS_OF_DAY = 2_000_000
QUICK_ASKED = 40
EXACT_ASKED = 5
WANTED_QUICK_MS = 100.0
WANTED_EXACT_S = 3.0
WANTED_BYTES = 25.0
_MEMORY = 2 << 30
_LAST_DAY = date(2026, 11, 22)
_COUNTRIES = ("DE", "US", "FR", "GB", "NL", "AT", "CH", "ES", "IT", "PL")

# 120,000 visitors a day, of whom half were there on another day of the week; 5,000
# paths and 100 browsers, the first of them far more often than the last; seven of
# sixteen visitors are from one country, the others from nine. Ids are as the server
# makes them, visitors and sessions 16 random characters. Each column draws by itself:
# `hash` of two numbers would not.
_EVENTS = """
    CREATE OR REPLACE TEMP TABLE new_events AS
    SELECT printf('%011x', epoch_ms(received)) || left(md5(i::VARCHAR || $day::VARCHAR), 20) AS id,
        ['pageview', 'pageview', 'pageview', 'pageview', 'signup', 'click']
            [1 + (hash(i || '#event') % 6)::INTEGER] AS event,
        time, received, 'example.com' AS site, visitor,
        left(md5(visitor || $day::VARCHAR || hash(i || '#session') % 3), 16) AS session,
        'https://example.com' || path AS url,
        CASE WHEN referrer IS NOT NULL THEN 'https://' || referrer || '/search' END AS referrer_url,
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/' || agent
            || '.0.0.0 Safari/537.36' AS ua,
        ['de', 'en', 'fr'][1 + (hash(visitor || '#language') % 3)::INTEGER] AS language,
        $countries[1 + greatest(hash(visitor || '#country') % 16, 6)::INTEGER - 6] AS country,
        'granted' AS consent, NULL::DOUBLE AS value,
        '{"plan":"' || CASE hash(visitor || '#plan') % 4 WHEN 0 THEN 'pro' ELSE 'free' END || '"}' AS props,
        'page' AS sender, true AS daily, NULL::VARCHAR AS region, NULL::VARCHAR AS city, NULL::VARCHAR AS screen,
        path, referrer, NULL::VARCHAR AS utm_source, NULL::VARCHAR AS utm_medium, NULL::VARCHAR AS utm_campaign,
        'Chrome' AS browser, 'Linux' AS os, 'desktop' AS device, agent % 50 = 0 AS bot, false AS is_indexed
    FROM (
        SELECT i, $day::TIMESTAMP + to_microseconds((i * 86399000000 // $count)::BIGINT // 1000 * 1000) AS time,
            time + INTERVAL 40 milliseconds AS received,
            left(md5((hash(i || '#visitor' || $day) % 120000 + 60000 * (day($day::DATE) % 7))::VARCHAR), 16) AS visitor,
            '/articles/' || (5000 * pow((hash(i || '#path' || $day) % 100000) / 100000.0, 3))::INTEGER AS path,
            CASE hash(i || '#referrer') % 4 WHEN 0 THEN 'www.example.org' WHEN 1 THEN 'news.example.net'
            END AS referrer,
            100 + (100 * pow((hash(visitor || '#agent') % 1000) / 1000.0, 3))::INTEGER AS agent
        FROM range($first, $end) t(i)
    )
"""


# The server made every id, so none of them is in the index of ids.
_INCOMING = "CREATE OR REPLACE TEMP VIEW incoming AS SELECT *, 0 AS id_number FROM new_events"
_AGENTS = "CREATE OR REPLACE TEMP VIEW user_agents AS SELECT browser, os, device FROM new_events"

# What the answers are compared with: events, and the visitors of what will be asked
# for.
_COUNTED = {
    "counts": "path, country, event, count(*) AS events FROM new_events WHERE NOT bot",
    "seen": "path, country, hash(visitor) AS visitor FROM new_events "
    f"WHERE NOT bot AND event = 'pageview' AND country IN {_COUNTRIES[:EXACT_ASKED]}",
}


class Reports(NamedTuple):
    """Seconds of the answers to questions that were not asked before, and what an event
    takes in the archive.

    `exact_s` is the median of countries, `largest_s` that of the one with seven
    sixteenths of the events.
    """

    events: int
    quick_p95_s: float
    exact_s: float
    largest_s: float
    bytes_of_event: float


def over_a_month(root: Path, days: int = DAYS, events: int = EVENTS_OF_DAY) -> Reports:
    """Raises AssertionError when an answer is not what an independent count of the same
    events says.
    """
    data = DataDirectory(root / "reports")
    counts = make_month(data, days, events)
    with serving(data.root, FOLDLOG_FOLD_INTERVAL="86400") as target:
        report(target, {"from": str(_LAST_DAY), "to": str(_LAST_DAY)})  # the reader process is started
        quick = sorted(ask_quick(target, counts, days, limit) for limit in range(10, 10 + QUICK_ASKED))
        exact = [ask_exact(target, counts, days, country) for country in _COUNTRIES[:EXACT_ASKED]]
    stored = sum(part.bytes for day in load_snapshot(data).days.values() for part in day.archive)
    return Reports(
        days * events, quick[int(len(quick) * 0.95)], statistics.median(exact), exact[0], stored / (days * events)
    )


class Share(NamedTuple):
    """What one of several hosts has of the events of each day."""

    number: int
    of: int


ALL = Share(0, 1)


def make_month(data: DataDirectory, days: int, events: int, share: Share = ALL) -> duckdb.DuckDBPyConnection:
    """Publish the days, or a share of them. Returns a database with the tables `counts`
    and `seen`, made of the events before they were written.
    """
    begin, stop = (events * (share.number + n) // share.of for n in (0, 1))
    middle = (begin + stop) // 2
    make_data_directory(data)
    spill = data.root.parent / "spill"
    database = connect(_MEMORY, 2, spill)
    settings = Settings(data_dir=data.root)
    countries = {"countries": list(_COUNTRIES)}
    for back in range(days - 1, -1, -1):
        day = _LAST_DAY - timedelta(days=back)
        for first, end in ((begin, middle), (middle, stop)):
            database.execute(_EVENTS, {"day": day, "count": events, "first": first, "end": end} | countries)
            database.execute(_INCOMING)
            database.execute(_AGENTS)
            for table, counted in _COUNTED.items():
                is_new = back == days - 1 and first == begin
                how = f"CREATE TABLE {table} AS" if is_new else f"INSERT INTO {table}"
                database.execute(f"{how} SELECT {counted} GROUP BY ALL")
            before, made = load_snapshot(data), NewEvents(new={day: end - first}, indexed={day: end - first})
            with compactor_lock(data) as lock:
                context = PassContext(data, settings, SilentLog(), lock, now_ms(), spill, lambda: database)
                counters = count_new_events(context, before, made)
                written = write_day(context, before, day, made, counters, before.generation + 1)
                publish(context, before, made, {day: written})
        if back:
            before = load_snapshot(data)
            with compactor_lock(data) as lock, pass_context(data, settings, SilentLog(), lock, now_ms()) as context:
                later = replace(context, now_ms=context.now_ms + DAY_S * 1000)
                day = next(days_to_merge(before, (), later.now_ms))
                publish(context, before, NewEvents(), merge_step(later, before, day))
    return database


def publish(context: PassContext, before: Snapshot, events: NewEvents, days: dict[date, Day]) -> None:
    after = next_snapshot(before, IncomingLines(), events, days, context.now_ms, 0.0)
    commit(context.data, before, after, context.lock)


def ask_quick(target: Target, counts: duckdb.DuckDBPyConnection, days: int, limit: int) -> float:
    """Top paths of all days by events."""
    made, seconds = report(target, {**_span(days), "by": "path", "limit": str(limit), "visitors": "none"})
    expected = counts.execute(
        "SELECT path, sum(events)::BIGINT AS n FROM counts GROUP BY ALL ORDER BY n DESC, path LIMIT $1", [limit]
    ).fetchall()
    _same([(row["value"], row["events"]) for row in made["rows"]], expected)
    return seconds


def ask_exact(target: Target, counts: duckdb.DuckDBPyConnection, days: int, country: str) -> float:
    """Top paths of the most frequent event in one country, with visitors."""
    asked = {**_span(days), "by": "path", "limit": "20", "event": "pageview", "filter": f"country=={country}"}
    made, seconds = report(target, asked)
    expected = counts.execute(
        "WITH e AS (SELECT path, sum(events)::BIGINT AS n FROM counts WHERE event = 'pageview' AND country = $1 "
        "GROUP BY ALL), v AS (SELECT path, count(DISTINCT visitor) AS visitors FROM seen "
        "WHERE country = $1 GROUP BY ALL) "
        "SELECT path, n, visitors FROM e JOIN v USING (path) ORDER BY n DESC, path LIMIT 20",
        [country],
    ).fetchall()
    _same(sorted(row["events"] for row in made["rows"]), sorted(n for _, n, _ in expected))
    known = {path: (n, visitors) for path, n, visitors in expected}
    shown = {row["value"]: (row["events"], row["visitors"]) for row in made["rows"]}
    _same(
        {path: shown[path] for path in known.keys() & shown.keys()},
        {path: known[path] for path in known.keys() & shown.keys()},
    )
    return seconds


def report(target: Target, asked: dict[str, str]) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    status, answer = ask(target, "GET", f"/admin/api/report?{urlencode(asked)}")
    seconds = time.perf_counter() - started
    if status != 200:
        raise AssertionError(f"a report was answered with {status}: {answer[:300]!r}")
    return orjson.loads(answer), seconds


def _span(days: int) -> dict[str, str]:
    return {"from": str(_LAST_DAY - timedelta(days=days - 1)), "to": str(_LAST_DAY), "tz": "UTC"}


def _same(shown: object, counted: object) -> None:
    if shown != counted:
        raise AssertionError(f"the report says {str(shown)[:500]}, counted were {str(counted)[:500]}")


def main() -> None:
    sys.stdout.write(f"{over_a_month(Path(sys.argv[1]), *map(int, sys.argv[2:]))}\n")


if __name__ == "__main__":
    main()
