"""The retention plan: what expires and why, and what is kept (P9)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compactor.retention.plan import (
    NOTHING_CONFIRMED,
    Confirmed,
    Item,
    KindPlan,
    LogFiles,
    RetentionPlan,
    plan_expiry,
)
from shared.disk.layout import ConfirmedHold, SegmentName
from shared.generations.snapshot import EMPTY_TIME, Day, Part, Retention, Snapshot, decode_snapshot, encode_snapshot
from shared.segments.sealed import Segment
from shared.settings import Settings
from shared.timestamps import rfc3339, utc_day
from tests.builders.history import DAY_MS, HOUR_MS
from tests.builders.logs import NOON


class Given(msgspec.Struct, frozen=True):
    """A directory as ages in days of its content, each with its bytes. `unfolded` and
    `not_in_fallback` are ages in the log; `last_fold` maps the age of a day to the age
    of the last fold into it, where that is later.
    """

    log: dict[int, int] = {}
    archive: dict[int, int] = {}
    counters: dict[int, int] = {}
    unfolded: Sequence[int] = ()
    not_in_fallback: Sequence[int] = ()
    last_fold: dict[int, int] = {}


class Expected(msgspec.Struct, frozen=True):
    """Ages that are deleted, by kind and reason; kinds on hold, with the days to delete
    and all days; bytes above the limit that are kept.
    """

    age: dict[str, list[int]] = {}
    size: dict[str, list[int]] = {}
    on_hold: dict[str, tuple[int, int]] = {}
    over_limit: dict[str, int] = {}


MONTH = dict.fromkeys(range(30), 10)
TEN = dict.fromkeys(range(8, 18), 10)
ROWS: dict[str, tuple[dict[str, int], Given, Expected]] = {
    "nothing is old": ({}, Given(MONTH, MONTH, {800: 10}), Expected()),
    "log by age": ({}, Given({32: 10, 31: 10, 29: 10}), Expected({"log": [32, 31]})),
    "archive by age": ({}, Given(archive={762: 1, 761: 1, 760: 1}), Expected({"archive": [762, 761]})),
    "archive by age of the last fold into it": (
        {},
        Given(archive={900: 1, 800: 1}, last_fold={900: 3}),
        Expected({"archive": [800]}),
    ),
    "counters by age, only without an archive": (
        {"counters_retention_days": 20},
        Given(archive={50: 1}, counters={40: 1, 21: 1, 20: 1}),
        Expected({"counters": [40, 21]}),
    ),
    "counters and archive of a day together": (
        {"counters_retention_days": 20, "archive_retention_days": 10},
        Given(archive={21: 1, 12: 1, 9: 1}),
        Expected({"archive": [21, 12], "counters": [21]}),
    ),
    "counters are kept for ever by default": ({}, Given(counters={30_000: 1}), Expected()),
    "an unfolded segment is kept": ({}, Given({40: 10, 39: 10}, unfolded=[40]), Expected({"log": [39]})),
    "a segment that a kept snapshot would lack is kept": (
        {},
        Given({40: 10, 39: 10}, not_in_fallback=[39]),
        Expected({"log": [40]}),
    ),
    "log by size, oldest first": ({"log_max_bytes": 280}, Given(MONTH), Expected(size={"log": [29, 28]})),
    "log that just fits": ({"log_max_bytes": 300}, Given(MONTH), Expected()),
    "log by age, then by size": (
        {"log_max_bytes": 25, "log_retention_days": 10},
        Given({12: 10, 9: 10, 3: 10, 1: 10}),
        Expected({"log": [12]}, {"log": [9]}),
    ),
    "log of which no more may be deleted": (
        {"log_max_bytes": 15},
        Given({3: 10, 2: 10, 1: 10}, unfolded=[3], not_in_fallback=[2]),
        Expected(size={"log": [1]}, over_limit={"log": 5}),
    ),
    "archive by size, oldest first": (
        {"archive_max_bytes": 80},
        Given(archive=TEN),
        Expected(size={"archive": [17, 16]}),
    ),
    "archive by size, oldest by the last fold into it": (
        {"archive_max_bytes": 15},
        Given(archive={900: 10, 20: 10}, last_fold={900: 10}),
        Expected(size={"archive": [20]}),
    ),
    "archive of the last seven days is kept": (
        {"archive_max_bytes": 5},
        Given(archive={9: 10, 8: 10, 7: 10, 0: 10, 700: 10}, last_fold={700: 7}),
        Expected(size={"archive": [9, 8]}, over_limit={"archive": 25}),
    ),
    "counters by size, only without an archive": (
        {"counters_max_bytes": 25},
        Given(archive={50: 1}, counters={40: 10, 30: 10, 20: 10}),
        Expected(size={"counters": [40]}, over_limit={}),
    ),
    "counters that still have an archive are kept": (
        {"counters_max_bytes": 1},
        Given(archive={2: 9, 1: 9}, counters={9: 5}),
        Expected(size={"counters": [9]}, over_limit={"counters": 1}),
    ),
    "seven days need no confirmation": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(9, 16), 1)),
        Expected({"archive": [15, 14, 13, 12, 11, 10, 9]}),
    ),
    "eight days of eight need confirmation": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(9, 17), 1)),
        Expected(on_hold={"archive": (8, 8)}),
    ),
    "eight days of sixteen need none": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(1, 17), 1)),
        Expected({"archive": [16, 15, 14, 13, 12, 11, 10, 9]}),
    ),
    "eight days of fifteen need confirmation": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(2, 17), 1)),
        Expected(on_hold={"archive": (8, 15)}),
    ),
    "a limit that deletes most of the log needs confirmation": (
        {"log_max_bytes": 100},
        Given(MONTH),
        Expected(on_hold={"log": (20, 30)}),
    ),
    "a log of one day needs none, whatever its size": (
        {"log_retention_days": 0},
        Given(MONTH, unfolded=range(1, 30)),
        Expected({"log": [0]}),
    ),
    "a kind on hold does not affect another": (
        {"archive_retention_days": 8},
        Given({31: 10}, archive=dict.fromkeys(range(9, 20), 1)),
        Expected({"log": [31]}, on_hold={"archive": (11, 11)}),
    ),
    "counters of an archive on hold are kept": (
        {"archive_retention_days": 8, "counters_retention_days": 8},
        Given(archive=dict.fromkeys(range(9, 20), 1)),
        Expected(on_hold={"archive": (11, 11)}),
    ),
}


def day(age: int) -> date:
    return utc_day(NOON) - timedelta(days=age)


def at(age: int) -> datetime:
    return datetime.fromtimestamp(NOON / 1000, UTC) - timedelta(days=age)


def plan_of(
    given: Given, settings: Settings, confirmed: Confirmed = NOTHING_CONFIRMED, after_ms: int = 60_000
) -> RetentionPlan:
    """The plan of a pass over such a directory, `after_ms` after the last pass."""
    ages = sorted(given.log, reverse=True)
    names = {age: SegmentName("0", number, at(age)) for number, age in enumerate(ages, 1)}
    segments = [Segment(name, Path(name.file)) for name in names.values()]
    sizes = {name.file: given.log[age] for age, name in names.items()}
    unfolded = tuple(sorted(names[age].sequence for age in given.unfolded))
    unfolded_before = tuple(sorted({*unfolded, *(names[age].sequence for age in given.not_in_fallback)}))
    days = {
        day(age): Day(
            rfc3339(NOON - given.last_fold.get(age, age) * DAY_MS),
            archive=(Part(1, 1, given.archive[age], ""),) if age in given.archive else (),
            counters=(Part(1, 1, given.counters.get(age, 1), ""),),
        )
        for age in {**given.archive, **given.counters}
    }
    folded = {"0": len(ages)}
    before = Snapshot(generation=9, as_of=rfc3339(NOON), folded=folded, missing={"0": unfolded_before}, days=days)
    after = msgspec.structs.replace(before, missing={"0": unfolded})
    log = LogFiles(segments, sizes, [before])
    return plan_expiry(before, after, log, NOON + after_ms, settings, confirmed)


def ages_to_delete(kind: KindPlan[Any], reason: str) -> list[int]:
    return [(utc_day(NOON) - item.day).days for item in kind.to_delete if item.reason == reason]


@pytest.mark.parametrize(("settings", "given", "expected"), ROWS.values(), ids=ROWS)
def test_plan_deletes_what_is_past_its_retention(settings: dict[str, Any], given: Given, expected: Expected) -> None:
    plan = plan_of(given, Settings(**settings))
    assert plan.skipped is None
    for reason, by_kind in (("age", expected.age), ("size", expected.size)):
        planned = {kind.kind: ages_to_delete(kind, reason) for kind in plan.kinds}
        assert {kind: ages for kind, ages in planned.items() if ages} == by_kind
    run = plan.record(Retention())
    assert {kind: (hold.days, hold.kept_days) for kind, hold in run.on_hold.items()} == expected.on_hold
    assert run.over_limit == expected.over_limit


@pytest.mark.parametrize(("settings", "given"), [row[:2] for row in ROWS.values()], ids=ROWS)
@pytest.mark.parametrize("after_ms", [-60_000, 2 * DAY_MS + 1], ids=["behind", "ahead"])
def test_plan_deletes_nothing_while_the_clock_is_suspect(settings: dict[str, Any], given: Given, after_ms: int) -> None:
    plan = plan_of(given, Settings(**settings), Confirmed(every=True), after_ms)
    assert plan.skipped
    assert not any(kind.expired for kind in plan.kinds)


def test_confirmed_deletion_is_not_on_hold() -> None:
    given = Given(archive=dict.fromkeys(range(9, 30), 1))
    plan = plan_of(given, Settings(archive_retention_days=8), Confirmed(every=True))
    assert len(plan.archive.to_delete) == 21
    assert plan.record(Retention()).succeeded_at == plan.at


# What was confirmed, of a hold of 21 days that are 29 to 9 days old, and whether a pass
# may carry the hold out.
CONFIRMED: dict[str, tuple[ConfirmedHold, bool]] = {
    "just that": (ConfirmedHold("archive", day(29), day(9), 21), True),
    "more than that, as a hold that has shrunk since": (ConfirmedHold("archive", day(40), day(8), 33), True),
    "another kind": (ConfirmedHold("log", day(29), day(9), 21), False),
    "a younger day has expired since": (ConfirmedHold("archive", day(29), day(10), 20), False),
    "a younger day has expired since, and the oldest went": (ConfirmedHold("archive", day(30), day(10), 21), False),
    "an older day came since": (ConfirmedHold("archive", day(28), day(9), 21), False),
    "a day between came since": (ConfirmedHold("archive", day(29), day(9), 20), False),
}


@pytest.mark.parametrize(("hold", "covers"), CONFIRMED.values(), ids=CONFIRMED)
def test_no_more_is_deleted_than_was_confirmed(hold: ConfirmedHold, covers: bool) -> None:
    given = Given(archive=dict.fromkeys(range(9, 30), 1), log=dict.fromkeys(range(9, 30), 1))
    settings = Settings(archive_retention_days=8, log_retention_days=100)
    plan = plan_of(given, settings, Confirmed(holds=(hold,)))
    assert (len(plan.archive.to_delete), plan.archive.on_hold) == ((21, False) if covers else (0, True))
    assert plan.archive.is_confirmed is covers
    assert plan.confirmed == (hold,)


def test_confirmed_hold_waits_while_the_clock_is_suspect() -> None:
    given = Given(archive=dict.fromkeys(range(9, 30), 1))
    confirmed = Confirmed(holds=(ConfirmedHold("archive", day(29), day(9), 21),))
    plan = plan_of(given, Settings(archive_retention_days=8), confirmed, 2 * DAY_MS + 1)
    assert plan.skipped and not plan.deletes
    assert plan.confirmed == (), "settled by no run that is skipped"


def test_steady_state_after_a_confirmed_deletion_needs_no_confirmation() -> None:
    """Once a retention of two years was lowered to 30 days, one day a day expires."""
    kept = dict.fromkeys(range(31), 1)
    plan = plan_of(Given(kept, kept), Settings(log_retention_days=29, archive_retention_days=29))
    assert ages_to_delete(plan.archive, "age") == [30]


ON_HOLD = KindPlan("archive", 9, (Item(day(9), day(9), 1, "age", evictable=True),), on_hold=True)
# The record of the last run, the plan of this one, and when retention last succeeded.
RECORDS: dict[str, tuple[Retention, RetentionPlan, str]] = {
    "first pass": (Retention(), RetentionPlan("now"), "now"),
    "skipped, after a success": (Retention(at="B", succeeded_at="A"), RetentionPlan("now", "the clock"), "A"),
    "skipped, after an older release": (Retention(at="B"), RetentionPlan("now", "the clock"), "B"),
    "on hold, after a success": (Retention(at="B", succeeded_at="A"), RetentionPlan("now", archive=ON_HOLD), "A"),
    "over a limit that cannot be met": (
        Retention(at="B"),
        RetentionPlan("now", log=KindPlan("log", 9, undeletable_bytes=7)),
        "now",
    ),
}


@pytest.mark.parametrize(("last", "plan", "expected"), RECORDS.values(), ids=RECORDS)
def test_run_succeeds_unless_it_is_skipped_or_on_hold(last: Retention, plan: RetentionPlan, expected: str) -> None:
    assert plan.record(last).succeeded_at == expected


# Hours before now: the last run, the last success (None: an older release did not
# record it), the jump of the clock. Then the hours without success.
STREAKS = {
    "success": (0, 0, None, 0),
    "on hold for three days": (0, 73, None, 73),
    "on hold, then a jump": (0, 100, 40, 40),
    "after a standstill of a week": (0, 168, 0, 0),
    "a jump two days ago": (0, 168, 47, 47),
    "older release": (5, None, None, 0),
}


@pytest.mark.parametrize(("at_h", "success_h", "jump_h", "expected_h"), STREAKS.values(), ids=STREAKS)
def test_time_without_success_restarts_with_a_jump_of_the_clock(
    at_h: int, success_h: int | None, jump_h: int | None, expected_h: int
) -> None:
    moments = [None if hours is None else rfc3339(NOON - hours * HOUR_MS) for hours in (at_h, success_h, jump_h)]
    run = Retention(at=moments[0] or EMPTY_TIME, succeeded_at=moments[1], clock_suspect_since=moments[2])
    assert run.unsuccessful_s == expected_h * 3600


def test_record_of_an_older_release_is_read() -> None:
    old = json.loads(encode_snapshot(Snapshot(generation=3, retention=Retention(at=rfc3339(NOON)))))
    for name in ("succeeded_at", "on_hold", "over_limit"):
        del old["retention"][name]
    del old["dropped_days"], old["sha256"]
    old["format"] = 1
    snapshot = decode_snapshot(json.dumps(old).encode("utf-8"), Path("snapshot.json"))
    assert (snapshot.retention.last_success, snapshot.retention.unsuccessful_s) == (rfc3339(NOON), 0)
