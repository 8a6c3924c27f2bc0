"""Reports over texts that share DuckDB's hash: the numbers of a count in Python, in the
time that as many random texts take.

The parts are written here, without a dictionary, so that nothing but the report meets
the texts.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from reports.export import export, room_for_export
from reports.kinds import goals, parse_question
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.counter_schema import COUNTER_COLUMNS, DAY_ROWS_SUFFIX
from shared.generations.snapshot import Day, Part, Snapshot
from shared.named_filters import NamedFilter
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import to_archive_sql
from tests.builders.collisions import colliding, colliding_under_any_prefix, random_texts
from tests.builders.logs import data_directory

DAY = date(2026, 11, 22)
MIDNIGHT = datetime(2026, 11, 22)  # noqa: DTZ001  as a TIMESTAMP column holds it
MEMORY = 64 << 20
WITHOUT_DICTIONARY = "FORMAT parquet, DICTIONARY_SIZE_LIMIT 1"
FAMILIES = {"plain": colliding, "any prefix": colliding_under_any_prefix}

Event = tuple[datetime, str, str | None]  # time, path, visitor


def events_of(paths: list[str], visitors: list[str]) -> list[Event]:
    """Each path has a visitor without an id, and each visitor is at several paths and
    hours.
    """
    seen = [
        (MIDNIGHT + timedelta(hours=number % 24), paths[(number * step) % len(paths)], visitor)
        for step in (1, 3)
        for number, visitor in enumerate(visitors)
    ]
    return [*seen, *((MIDNIGHT, path, None) for path in paths)]


class Made(NamedTuple):
    data: DataDirectory
    snapshot: Snapshot
    events: list[Event]


def make(root: Path, events: list[Event], capped: tuple[str, ...] = (), kept: int | None = None) -> Made:
    """A data directory with these events. With `capped` its counters hold the `kept`
    first paths, and the others as `(other)`.
    """
    data = data_directory(root)
    with closing(duckdb.connect()) as database:
        columns = {"time": "time", "received": "time", "path": "path", "visitor": "visitor", "event": "'view'"}
        columns |= {"site": "'example.com'", "bot": "false", "id": "'id-' || row_number() OVER ()"}
        chosen = ", ".join(f"{columns.get(name, 'NULL')}::{kind} AS {name}" for name, kind in ARCHIVE_COLUMNS.items())
        database.execute("CREATE TABLE seen (time TIMESTAMP, path VARCHAR, visitor VARCHAR)")
        rows = list(zip(*events, strict=True))
        database.execute("INSERT INTO seen SELECT unnest($1), unnest($2), unnest($3)", [list(each) for each in rows])
        archive = write(database, data, "archive", f"FROM {to_archive_sql(f'(SELECT {chosen} FROM seen)')}")
        shown = set(list(dict.fromkeys(path for _, path, _ in events))[:kept])
        counted = Counter((at, path if path in shown else "(other)") for at, path, _ in events)
        counters = write_counters(database, data, counted)
    day = Day("", archive=(archive,), counters=(counters,), quarters=("path",), capped=capped)
    return Made(data, Snapshot(generation=1, days={DAY: day}), events)


def write_counters(database: duckdb.DuckDBPyConnection, data: DataDirectory, counted: Counter[Any]) -> Part:
    database.execute("CREATE TABLE counted (bucket TIMESTAMP, value VARCHAR, events BIGINT)")
    rows = [(at, path, count) for (at, path), count in counted.items()]
    columns = [list(each) for each in zip(*rows, strict=True)]
    database.execute("INSERT INTO counted SELECT unnest($1), unnest($2), unnest($3)", columns)
    total = "SELECT bucket, NULL AS value, sum(events) AS events, 'total' AS dimension FROM counted GROUP BY ALL"
    quarters = f"{total} UNION ALL SELECT *, 'path' AS dimension FROM counted"
    sums = (
        f"SELECT date_trunc('day', bucket) AS bucket, value, events, dimension || '{DAY_ROWS_SUFFIX}' AS dimension "
        f"FROM ({quarters})"
    )
    given = {"site": "'example.com'", "bot": "false", "event": "'view'", "visitors": "NULL"}
    chosen = ", ".join(f"{given.get(name, name)}::{kind} AS {name}" for name, kind in COUNTER_COLUMNS.items())
    return write(database, data, "counters", f"SELECT {chosen} FROM ({quarters} UNION ALL {sums})")


def write(database: duckdb.DuckDBPyConnection, data: DataDirectory, kind: str, sql: str) -> Part:
    path = data.part(kind, DAY, 1)
    path.parent.mkdir(parents=True)
    (rows,) = database.execute(f"COPY ({sql}) TO '{path}' ({WITHOUT_DICTIONARY})").fetchall()[0]
    content = path.read_bytes()
    return Part(1, rows, len(content), hashlib.sha256(content).hexdigest(), version=2)


# The events come from the counters, or, with a filter, from the archive.
FROM_COUNTERS, FROM_ARCHIVE = "", "path!=/none"


def ask(made: Made, **asked: str) -> dict[str, Any]:
    span = {} if asked.get("kind") == "live" else {"from": str(DAY), "to": str(DAY)}
    query = parse_question({**span, **asked}, datetime.now(UTC), "UTC")
    with closing(connect(MEMORY, 1)) as database:
        return make_report(database, made.data, made.snapshot, query)


@pytest.fixture(scope="module", params=FAMILIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    paths, visitors = FAMILIES[request.param](300, "/article"), FAMILIES[request.param](500)
    yield make(tmp_path_factory.mktemp("collisions"), events_of(paths, visitors))


@pytest.mark.parametrize("filter_", [FROM_COUNTERS, FROM_ARCHIVE], ids=["counters", "archive"])
def test_rows_of_colliding_paths_and_visitors_are_exact(made: Made, filter_: str) -> None:
    report = ask(made, by="path", limit="10000", filter=filter_)
    visitors = defaultdict(set)
    for _, path, visitor in made.events:
        visitors[path].add(visitor)
    counted = Counter(path for _, path, _ in made.events)
    expected = {path: (count, len(visitors[path] - {None})) for path, count in counted.items()}
    assert {row["value"]: (row["events"], row["visitors"]) for row in report["rows"]} == expected
    everybody = {visitor for _, _, visitor in made.events} - {None}
    assert report["total"] == {"events": len(made.events), "visitors": len(everybody)}


@pytest.mark.parametrize("filter_", [FROM_COUNTERS, FROM_ARCHIVE], ids=["counters", "archive"])
def test_first_of_equally_frequent_colliding_paths_are_by_name(made: Made, filter_: str) -> None:
    report = ask(made, by="path", limit="7", filter=filter_, visitors="none")
    counted = Counter(path for _, path, _ in made.events)
    expected = sorted(counted, key=lambda path: (-counted[path], path))[:7]
    assert [row["value"] for row in report["rows"]] == expected
    assert report["total"] == {"events": len(made.events)}


@pytest.mark.parametrize("filter_", [FROM_COUNTERS, FROM_ARCHIVE], ids=["counters", "archive"])
def test_hours_of_colliding_visitors_are_exact(made: Made, filter_: str) -> None:
    report = ask(made, interval="hour", filter=filter_)
    visitors, counted = defaultdict(set), Counter(at.hour for at, _, _ in made.events)
    for at, _, visitor in made.events:
        visitors[at.hour].add(visitor)
    expected = [(counted[hour], len(visitors[hour] - {None})) for hour in range(24)]
    assert [(row["events"], row["visitors"]) for row in report["rows"]] == expected


def test_colliding_values_beside_the_kept_ones_are_other(tmp_path: Path) -> None:
    paths, visitors = colliding(60, "/article"), colliding(90)
    made = make(tmp_path, events_of(paths, visitors), capped=("path",), kept=20)
    found = {row["value"]: (row["events"], row["visitors"]) for row in ask(made, by="path", limit="10000")["rows"]}
    kept = list(dict.fromkeys(path for _, path, _ in made.events))[:20]
    assert set(found) == {*kept, "(other)"}
    others = [(path, visitor) for _, path, visitor in made.events if path not in kept]
    assert found["(other)"] == (len(others), len({visitor for _, visitor in others} - {None}))


LAST_MINUTES = {"kind": "live", "at": f"{DAY}T00:30:00Z", "limit": "100"}
GOALS = goals.given([NamedFilter("goal", "articles", "path=~/article*"), NamedFilter("goal", "others", "path==/b")])


EIGHT_STEPS = ";;".join(["path!="] * 8)


def test_sequences_of_colliding_visitors_are_exact(made: Made) -> None:
    """Each visitor has two events of one time."""
    everybody = {visitor for _, _, visitor in made.events} - {None}
    steps = ask(made, kind="funnel", steps=EIGHT_STEPS)["steps"]
    assert [step["visitors"] for step in steps] == [len(everybody), len(everybody), *[0] * 6]
    by_path = ask(made, kind="funnel", steps=EIGHT_STEPS, by="path", limit="10000")["rows"]
    assert sum(row["visitors"] for row in by_path if row["step"] == 2) == len(everybody)
    stays = ask(made, kind="paths", by="event", at="view")
    assert stays["total"] == {"stays": len(everybody), "visitors": len(everybody)}


def test_kinds_over_colliding_visitors_are_exact(made: Made) -> None:
    everybody = {visitor for _, _, visitor in made.events} - {None}
    (cohort,) = ask(made, kind="cohorts", period="day")["rows"]
    assert (cohort["visitors"], cohort["returned"]) == (len(everybody), [])
    articles, others = ask(made, kind="goals", goals=GOALS)["rows"]
    assert (articles["events"], articles["visitors"]) == (len(made.events), len(everybody))
    assert (others["events"], others["visitors"], others["all_visitors"]) == (0, 0, len(everybody))
    first = [(path, visitor) for at, path, visitor in made.events if at == MIDNIGHT]
    found = ask(made, **LAST_MINUTES)
    assert found["total"]["visitors_30"] == len({visitor for _, visitor in first} - {None})
    rows = {row["value"]: (row["events_30"], row["visitors_30"]) for row in found["rows"] if row["by"] == "path"}
    assert len(rows) == 100
    for path, numbers in rows.items():
        of_path = [visitor for each, visitor in first if each == path]
        assert numbers == (len(of_path), len({*of_path} - {None}))


QUESTIONS = {
    "cohorts": {"kind": "cohorts", "period": "day", "return": "path!=/none"},
    "goals": {"kind": "goals", "goals": GOALS, "interval": "hour"},
    "last minutes": LAST_MINUTES,
    "funnel": {"kind": "funnel", "steps": EIGHT_STEPS},
    "funnel by path": {"kind": "funnel", "steps": EIGHT_STEPS, "by": "path"},
    "ways": {"kind": "paths", "by": "event", "at": "view"},
    "total": {},
    "hours": {"interval": "hour"},
    "paths": {"by": "path"},
    "paths of the archive": {"by": "path", "filter": FROM_ARCHIVE},
    "paths without visitors": {"by": "path", "visitors": "none"},
}


@pytest.fixture(scope="module")
def floods(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    """Colliding texts, and as many random ones."""
    paths, visitors = colliding(20_000, "/article"), colliding(20_000)
    flooded = make(tmp_path_factory.mktemp("colliding"), events_of(paths, visitors))
    return flooded, make(
        tmp_path_factory.mktemp("random"), events_of(random_texts(paths), random_texts(visitors, beginning=0))
    )


@pytest.mark.long
@pytest.mark.parametrize("asked", QUESTIONS.values(), ids=QUESTIONS)
def test_colliding_texts_take_no_more_than_random_ones(floods: tuple[Made, Made], asked: dict[str, str]) -> None:
    """A linear report takes about as long, one in their square 60 to 260 times as
    long.
    """
    colliding_s, random_s = (min(seconds(made, asked) for _ in range(2)) for made in floods)
    assert colliding_s < 10 * random_s


def seconds(made: Made, asked: dict[str, str]) -> float:
    started = time.process_time()
    ask(made, **asked)
    return time.process_time() - started


@pytest.mark.parametrize("family", FAMILIES)
def test_export_to_parquet_has_no_large_dictionary(tmp_path: Path, family: str) -> None:
    """Its writer would compare each text with all others of its hash."""
    paths, visitors = FAMILIES[family](300, "/article"), FAMILIES[family](300)
    made = make(tmp_path, [event for _ in range(4) for event in events_of(paths, visitors)])
    query, out = parse({"from": str(DAY), "to": str(DAY)}, datetime.now(UTC), "UTC"), io.BytesIO()
    with room_for_export(made.data, MEMORY, 0) as room:
        export(room, made.data, made.snapshot, query, "parquet", out)
    path = tmp_path / "export.parquet"
    path.write_bytes(out.getvalue())
    with closing(duckdb.connect()) as database:
        rows = database.execute("SELECT time, path, visitor FROM read_parquet($1)", [str(path)]).fetchall()
        of_columns = "SELECT path_in_schema FROM parquet_metadata($1) WHERE dictionary_page_offset IS NOT NULL"
        with_dictionary = {name for (name,) in database.execute(of_columns, [str(path)]).fetchall()}
    assert Counter(rows) == Counter(made.events)
    assert {"site", "event"} <= with_dictionary and not {"path", "visitor"} & with_dictionary
