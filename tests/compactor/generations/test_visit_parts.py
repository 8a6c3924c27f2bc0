"""Visits of days that are over: when passes make them, what takes them away again, and
what stays of them.
"""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compactor import run_pass
from compactor.generations.visit_freshness import without_stale_visits
from compactor.merge_command import merge_now
from compactor.repair.rebuild import rebuild
from compactor.repair.verify import verify
from reports.query import parse
from reports.report import make_report
from reports.visits.days import GONE_FILTER
from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.duckdb_engine import connect
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day, Part, Snapshot, VisitsOf, encode_snapshot
from shared.settings import Settings
from tests.builders.archive import assert_verified
from tests.builders.erasure import VISITOR, erase, files_with
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
LAST = date(2026, 11, 22)
# On which one event is, of a visit that began before.
AFTER = LAST + timedelta(days=1)
DAYS = [LAST - timedelta(days=back) for back in (3, 2, 1, 0)]
LATER = NOON + 4 * DAY_MS
# The clock goes on with the passes.
PASS_MS = 60_000


def noon(day: date) -> int:
    return NOON - (LAST - day).days * DAY_MS


def passes(data: DataDirectory, now_ms: int = LATER, count: int = 12, **settings: Any) -> Snapshot:
    set_mark(data.last_pass, now_ms - PASS_MS)  # the compactor looked all the time
    for number in range(count):
        done = fold(data, now_ms + number * PASS_MS, **settings)
    return done.snapshot


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """Four days of three visitors: visits at noon, and one of the first that goes on
    over each midnight. All are made.
    """
    data = data_directory(tmp_path_factory.mktemp("made"))
    for day in DAYS:
        who = [("ann", 0), ("ann", 5), (VISITOR, 1), ("bob", 11 * 60 + 50), ("bob", 12 * 60 + 5)]
        sealed(data, [line(f"{day}-{n:02}-event", noon(day) + m * 60_000, visitor=v) for n, (v, m) in enumerate(who)])
        fold(data, noon(day) + 13 * HOUR_MS)
    snapshot = passes(data)
    assert made_days(snapshot) == set(snapshot.days)
    assert [day for day, kept in snapshot.days.items() if kept.sessions and kept.visits] == DAYS
    return data


@pytest.fixture
def data(template: DataDirectory, tmp_path: Path) -> DataDirectory:
    return DataDirectory(shutil.copytree(template.root, tmp_path / "data"))


def made_days(snapshot: Snapshot) -> set[date]:
    return {day for day, kept in snapshot.days.items() if kept.visits_of is not None}


def ask(data: DataDirectory, **asked: str) -> dict[str, Any]:
    given = {"from": str(DAYS[0]), "to": str(DAYS[-1] + timedelta(days=1)), "measures": "visits,bounce_rate", **asked}
    with connect(64 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), parse(given, datetime(2026, 12, 1, tzinfo=UTC), "UTC"))


def by_day(data: DataDirectory) -> list[int]:
    return [row["visits"] for row in ask(data, interval="day")["rows"]]


def test_days_that_are_over_have_visits_that_a_recount_confirms(data: DataDirectory) -> None:
    assert by_day(data) == [3, 3, 3, 3, 0]
    assert_verified(data)


def test_late_event_takes_the_visits_that_it_may_change(data: DataDirectory) -> None:
    """It makes one visit of two, over midnight. The other days keep theirs."""
    late = DAYS[2]
    sealed(data, [line("late-event", noon(late) - 12 * HOUR_MS + 34 * 60_000, LATER + DAY_MS, visitor="bob")])
    after = fold(data, LATER + DAY_MS).snapshot
    assert made_days(after) == {DAYS[0], DAYS[3], AFTER}
    assert by_day(data) == [3, 3, 3, 3, 0]
    after = passes(data, LATER + 3 * DAY_MS)
    assert made_days(after) == set(after.days)
    assert by_day(data) == [3, 3, 3, 3, 0]
    assert_verified(data)


def test_late_event_moves_visits_of_a_chain_days_later(tmp_path: Path) -> None:
    """A session goes on for days, and is cut every 24 hours after its first event: a
    late one moves the cuts of days whose visits are made, at once.
    """
    data = data_directory(tmp_path)
    midnight = noon(DAYS[0]) - 12 * HOUR_MS
    hours = range(10, 96, 5)
    sealed(data, [line(f"event-{hour:02}", midnight + hour * HOUR_MS, session="s") for hour in hours])
    fold(data, noon(DAYS[3]) + 12 * HOUR_MS)
    assert set(DAYS) <= made_days(passes(data))
    assert hours_of(data) == [f"{DAYS[0]}T10", f"{DAYS[1]}T11", f"{DAYS[2]}T12", f"{DAYS[3]}T13"]
    sealed(data, [line("event-late", midnight + 2 * HOUR_MS, LATER + DAY_MS, session="s")])
    after = fold(data, LATER + DAY_MS).snapshot
    assert made_days(after) >= set(DAYS[1:])
    expected = [f"{DAYS[0]}T02", f"{DAYS[1]}T06", f"{DAYS[2]}T07", f"{DAYS[3]}T08"]
    assert hours_of(data, **{"from": str(DAYS[3])}) == expected[3:]
    assert hours_of(data) == expected
    after = passes(data, LATER + 3 * DAY_MS, 20)
    assert set(DAYS) <= made_days(after)
    assert hours_of(data) == expected
    assert_verified(data)


def hours_of(data: DataDirectory, **asked: str) -> list[str]:
    """The hours in which visits begin."""
    return [row["time"][:13] for row in ask(data, interval="hour", **asked)["rows"] if row["visits"]]


def test_pass_that_folds_nothing_makes_several_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that folds, or has no time left, does one step."""
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{day}", noon(day)) for day in DAYS])
    fold(data, noon(DAYS[3]))
    monkeypatch.setattr(run_pass, "STEPS_S", 0.0)
    merged = passes(data, LATER, 1).days
    assert [kept.merged for kept in merged.values()] == [True, False, False, False]
    monkeypatch.undo()
    sealed(data, [line("event-today", LATER, LATER)])
    merged = fold(data, LATER + PASS_MS).snapshot.days
    assert [merged[day].merged for day in DAYS] == [True, True, False, False]
    monkeypatch.setattr(run_pass, "STEPS_S", 600.0)
    assert made_days(fold(data, LATER + 2 * PASS_MS).snapshot) >= set(DAYS)
    assert by_day(data) == [1, 1, 1, 1, 0]
    assert_verified(data)


def test_merge_of_archive_parts_keeps_the_visits(data: DataDirectory) -> None:
    """A late event of a visit that stays the same; then only parts are put together."""
    before = load_snapshot(data)
    merge_now(data, Settings(data_dir=data.root), SilentLog(), DAYS[1], lambda: LATER + DAY_MS)
    after = load_snapshot(data)
    assert made_days(after) == made_days(before)
    assert_verified(data)


def test_erased_visitor_is_in_no_visit(data: DataDirectory) -> None:
    create_request(data, VISITOR, None)
    erase(data, LATER + DAY_MS)
    assert made_days(load_snapshot(data)) == {AFTER}
    assert files_with(data) == []
    assert by_day(data) == [2, 2, 2, 2, 0]
    assert passes(data, LATER + 2 * DAY_MS).days[DAYS[0]].sessions
    assert by_day(data) == [2, 2, 2, 2, 0]
    assert_verified(data)


def test_sums_stay_when_the_archive_expires(data: DataDirectory) -> None:
    after = passes(data, NOON + 9 * DAY_MS, archive_retention_days=8)
    assert after.days[DAYS[0]].expired and not after.days[DAYS[0]].sessions
    assert by_day(data) == [3, 3, 3, 3, 0]
    assert ask(data, by="site")["total"]["visits"] == 12
    filtered = ask(data, by="country")
    assert filtered["total"]["visits"] is None and filtered["reason"] == GONE_FILTER
    assert_verified(data)


def test_sums_are_made_when_an_archive_expires_before(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-2", NOON + HOUR_MS)])
    fold(data)
    kept = passes(data, NOON + 9 * DAY_MS, 1, archive_retention_days=8).days[LAST]
    assert kept.expired and kept.visits and not kept.sessions
    assert not list((data.root / "sessions").rglob("*.parquet"))
    assert ask(data)["total"] == {"visits": 2, "bounce_rate": 1.0}


def test_damaged_part_of_visits_is_made_again(data: DataDirectory) -> None:
    part = load_snapshot(data).days[DAYS[1]].sessions[0]
    path = data.part("sessions", DAYS[1], part.generation)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    settings = Settings(data_dir=data.root)
    assert [each.where for each in verify(data, settings, lambda _: None).findings] == [
        str(path.relative_to(data.root))
    ]
    rebuild(data, settings, SilentLog(), LATER + DAY_MS, dry_run=False)
    assert by_day(data) == [3, 3, 3, 3, 0]
    assert_verified(data)
    after = passes(data, LATER + 3 * DAY_MS)
    assert made_days(after) == set(after.days)
    assert_verified(data)


def test_visits_that_a_recount_does_not_confirm_are_found(data: DataDirectory) -> None:
    """Sums of another day in place of a day's own."""
    snapshot = load_snapshot(data)
    other = snapshot.days[DAYS[0]].visits[0]
    shutil.copy(data.part("visits", DAYS[0], other.generation), data.part("visits", DAYS[1], other.generation))
    days = {**snapshot.days, DAYS[1]: msgspec.structs.replace(snapshot.days[DAYS[1]], visits=(other,))}
    data.snapshot.write_bytes(encode_snapshot(msgspec.structs.replace(snapshot, days=days)))
    found = verify(data, Settings(data_dir=data.root), lambda _: None).findings
    assert [each.where for each in found] == [f"visits/{DAYS[1]}"]


OF = VisitsOf((1,), (2,), "", "1-a")
NEXT = VisitsOf((2,), (), "1-a")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [True, True]),
        ({0: {"visits_of": msgspec.structs.replace(OF, archive=(9,))}}, [False, True]),
        ({0: {"visits_of": msgspec.structs.replace(OF, following=())}}, [False, True]),
        ({0: {"visits_of": msgspec.structs.replace(OF, reaches="")}}, [True, False]),
        ({0: {"visits_of": None}}, [False, True]),
        ({0: {"expired": True, "archive": ()}}, [True, True]),
        ({0: {"expired": True}}, [False, True]),
        ({1: {"expired": True, "archive": ()}}, [True, True]),
    ],
    ids=["same", "own", "following", "goes on", "not made", "expired", "added to", "following expired"],
)
def test_visits_hold_while_what_they_were_made_of_does(changed: dict[int, Any], expected: list[bool]) -> None:
    days = [
        Day("", archive=(Part(number, 1, 1, ""),), visits=(Part(3, 1, 1, ""),), visits_of=made)
        for number, made in ((1, OF), (2, NEXT))
    ]
    days = [msgspec.structs.replace(kept, **changed.get(number, {})) for number, kept in enumerate(days)]
    found = without_stale_visits(Snapshot(days=dict(zip(DAYS[:2], days, strict=True))))
    assert [kept.visits_of is not None for kept in found.days.values()] == expected
