"""Questions to a directory, as parameters of a report's URL, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from ingest.collect.encode import Line
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.schema import DIMENSIONS
from shared.timestamps import DAY_S
from tests.builders.recount import Answer, as_answer

DAY_MS = DAY_S * 1000
QUARTER_MS = 900_000
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns")


def ask(data: DataDirectory, questions: Iterable[Mapping[str, str]]) -> Iterator[tuple[Mapping[str, str], Answer]]:
    snapshot = load_snapshot(data)
    with connect(256 << 20, 1) as database:
        for asked in questions:
            query = parse({**asked, "limit": "10000"}, datetime(2026, 12, 1, tzinfo=UTC), "UTC")
            yield asked, as_answer(make_report(database, data, snapshot, query))


def as_mappings(written: list[list[Line]]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(each) for lines in written for each in lines]


def questions(noon: int, pick: Any) -> list[dict[str, str]]:
    """Whole days of each zone by every kind of interval and dimension, and times that
    begin or end on a quarter of an hour, or a millisecond beside it.
    """
    days = [day_of(noon - back * DAY_MS) for back in (0, 1, 2)]
    asked = []
    for zone in ZONES:
        first, last = sorted(pick.choices(days, k=2))
        interval = pick.choice(["none", "15m", "hour", "day", "week", "month"])
        asked.append({"from": first, "to": last, "tz": zone, "interval": interval, **_selection(pick)})
        edges = sorted(noon - pick.randrange(250) * QUARTER_MS + pick.choice([0, 0, 1, -1]) for _ in range(2))
        if edges[0] < edges[1]:
            asked.append({"from": instant(edges[0]), "to": instant(edges[1]), "tz": zone, **_selection(pick)})
    asked += [{"from": days[2], "to": days[0], "by": name, "bots": "include"} for name in DIMENSIONS]
    return asked


def _selection(pick: Any) -> dict[str, str]:
    chosen = {
        "by": pick.choice([None, *DIMENSIONS]),
        "bots": pick.choice(["exclude", "include", "only"]),
        "event": pick.choice([None, None, "signup", "absent"]),
        "site": pick.choice([None, None, "www.other.org"]),
        "filter": pick.choice([None, None, "path==/a", "country!=DE;referrer=="]),
    }
    return {name: value for name, value in chosen.items() if value}


def day_of(epoch: int) -> str:
    return datetime.fromtimestamp(epoch / 1000, UTC).date().isoformat()


def instant(epoch: int) -> str:
    return datetime.fromtimestamp(epoch // 1000, UTC).replace(microsecond=epoch % 1000 * 1000).isoformat()
