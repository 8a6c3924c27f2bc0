"""The summary of a snapshot says what a recount in plain Python says, after each pass,
however it came about: added to, summed up again, or carried over midnight.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from compactor.summary import top_values
from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.summary import SUMMARY_MAX_BYTES, Summary, TopValue
from tests.builders.archive import HOUR_MS
from tests.builders.command import run_here
from tests.builders.logs import NOON, data_directory, fold, fold_all, line, sealed, tally
from tests.builders.questions import as_mappings
from tests.builders.random_lines import random_lines
from tests.builders.recount import Counted, counted_events
from tests.builders.server import environment, run_foldlog

DAY_MS = 24 * HOUR_MS
ZONES = (
    "America/St_Johns",
    *(
        pytest.param(zone, marks=pytest.mark.long)
        for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati")
    ),
)


def summary_of(data: DataDirectory) -> Summary:
    summary = load_snapshot(data).summary
    assert summary is not None
    return summary


def expected_events(counted: list[Counted], summary: Summary) -> dict[str, tuple[int, ...]]:
    found: dict[str, Counter[date]] = defaultdict(Counter)
    for each in counted:
        if not each.bot:
            found[str(each.values["site"])][local_date(each, summary)] += 1
    rows = {site: tuple(days[day] for day in summary.days) for site, days in found.items()}
    return {site: events for site, events in rows.items() if any(events)}


def local_date(each: Counted, summary: Summary) -> date:
    return each.time.astimezone(ZoneInfo(summary.zone)).date()


def expected_top(counted: list[Counted], summary: Summary, days: int, dimension: str) -> tuple[TopValue, ...]:
    since = summary.days[0] - timedelta(days=days - 1)
    values = tally(
        each.values[dimension]
        for each in counted
        if not each.bot and since <= local_date(each, summary) <= since + timedelta(days=days - 1)
    )
    largest = sorted(((text, events) for text, events in values.items() if text), key=lambda item: (-item[1], item[0]))
    return tuple(TopValue(*item) for item in largest[:10])


def assert_is_recount(summary: Summary, counted: list[Counted], now_ms: int) -> None:
    today = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(summary.zone)).date()
    assert summary.days == tuple(today - timedelta(days=back) for back in range(35))
    expected = expected_events(counted, summary)
    assert {site.site: site.events for site in summary.sites} == expected
    assert summary.events == tuple(map(sum, zip(*expected.values(), strict=True)))
    assert not any(summary.other_sites)
    for top, days in zip(summary.top, (2, 7), strict=True):
        assert (top.first, top.last) == (today - timedelta(days=days - 1), today)
        assert top.events == sum(summary.events[:days])
        assert top.event == expected_top(counted, summary, days, "event")
        assert top.path == expected_top(counted, summary, days, "path")
        assert top.source == expected_top(counted, summary, days, "source")


@pytest.mark.parametrize("zone", ZONES)
def test_after_each_pass_and_merge_it_is_a_recount(tmp_path: Path, zone: str) -> None:
    pick, data, lines = random.Random(zone), data_directory(tmp_path), list[Line]()
    now_ms = NOON
    for _ in range(5):
        new = random_lines(pick, now_ms, 30, len(lines))
        lines += new
        sealed(data, new)
        fold(data, now_ms, timezone=zone)
        counted = counted_events(as_mappings([lines]))
        assert_is_recount(summary_of(data), counted, now_ms)
        now_ms += pick.choice([HOUR_MS, 6 * HOUR_MS, 18 * HOUR_MS])
    for number in range(12):
        now_ms += DAY_MS if number == 0 else 60_000
        fold(data, now_ms, timezone=zone)
    summary = summary_of(data)
    assert_visitors(summary, counted)


def assert_visitors(summary: Summary, counted: list[Counted]) -> None:
    for site, visitors in [(None, summary.visitors), *((each.site, each.visitors) for each in summary.sites)]:
        for day, found, events in zip(summary.days, visitors, summary.events, strict=True):
            seen = {
                each.visitor
                for each in counted
                if not each.bot and site in {None, each.values["site"]} and local_date(each, summary) == day
            }
            assert found == (len(seen - {None}) if events else None), (site, day)


def test_visitors_of_a_day_that_changes_are_counted_again(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", visitor="ann"), line("event-2", visitor="bob")])
    fold(data)
    assert summary_of(data).visitors[0] is None
    fold(data, NOON + DAY_MS + 1)
    assert summary_of(data).visitors[:2] == (None, 2)
    sealed(data, [line("event-3", NOON, NOON + DAY_MS, visitor="cat")])
    fold(data, NOON + DAY_MS + 60_000)
    assert (summary_of(data).events[1], summary_of(data).visitors[1]) == (3, None)
    fold(data, NOON + 2 * DAY_MS + 120_000)
    assert (summary_of(data).events[2], summary_of(data).visitors[2]) == (3, 3)


def test_hundred_largest_sites_are_listed_and_the_rest_together(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    views = [f"site-{number:03}.example" for number in range(130) for _ in range(1 + number // 10)]
    sealed(data, [line(f"event-{number}", site=site) for number, site in enumerate(views)])
    fold(data)
    summary = summary_of(data)
    assert len(summary.sites) == 100
    assert {site.site: site.events[0] for site in summary.sites} == {
        site: events for site, events in tally(views).items() if site >= "site-030.example"
    }
    assert summary.other_sites[0] == 10 + 20 + 30
    assert summary.events[0] == len(views)
    sealed(data, [line("event-new-1", site="new.example"), line("event-new-2", site="site-129.example")])
    fold(data)
    summary = summary_of(data)
    assert (summary.sites[0].events[0], summary.other_sites[0]) == (14 + 1 - 1 + 0, 61)


def test_it_fits_into_64_kibibytes_whatever_the_names_are(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sites = [f"{number:03}.{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 60}.com" for number in range(100)]
    views = [
        line(f"event-{number}-{back}", NOON - back * DAY_MS, NOON, site=site, url=f"https://e.com/{'ö' * 190}{number}")
        for number, site in enumerate(sites)
        for back in range(8)
    ]
    sealed(data, views)
    fold_all(data)
    for number in range(12):
        fold(data, NOON + DAY_MS + number)
    snapshot = load_snapshot(data)
    (text,) = [each for each in data.snapshot.read_bytes().splitlines() if each.startswith(b' "summary": ')]
    assert len(text.removeprefix(b' "summary": ').removesuffix(b",")) <= SUMMARY_MAX_BYTES
    assert snapshot.summary is not None
    assert sum(snapshot.summary.events) == len(views)
    assert sum(map(sum, (site.events for site in snapshot.summary.sites))) + sum(snapshot.summary.other_sites) == len(
        views
    )


def test_largest_values_are_read_again_only_when_enough_was_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_values, "FEW_ROWS", 0)
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{number}", url="https://example.com/a") for number in range(100)])
    fold(data)
    sealed(data, [line(f"event-{100 + number}", url="https://example.com/b") for number in range(4)])
    fold(data, NOON + 1000)
    assert [(top.events, top.path) for top in summary_of(data).top] == [(100, (TopValue("/a", 100),))] * 2
    sealed(data, [line("event-104", url="https://example.com/b")])
    fold(data, NOON + 2000)
    expected = (105, (TopValue("/a", 100), TopValue("/b", 5)))
    assert [(top.events, top.path) for top in summary_of(data).top] == [expected] * 2


def test_values_that_the_counters_do_not_have_are_null(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{number}", url=f"https://example.com/{number}") for number in range(100)])
    fold(data, max_values=3)
    assert load_snapshot(data).days[date(2026, 11, 22)].uncounted == ("path",)
    top = summary_of(data).top[0]
    assert (top.event, top.path) == ((TopValue("pageview", 100),), None)


def test_another_time_zone_makes_it_anew(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    lines = random_lines(random.Random(3), NOON, 40, 0)
    sealed(data, lines)
    fold(data)
    sealed(data, [line("event-other", url="https://example.com/a")])
    fold(data, timezone="Asia/Kathmandu")
    counted = counted_events(as_mappings([[*lines, line("event-other", url="https://example.com/a")]]))
    summary = summary_of(data)
    assert summary.zone == "Asia/Kathmandu"
    assert {site.site: site.events for site in summary.sites} == expected_events(counted, summary)


@pytest.mark.long
def test_erasure_rebuild_and_retention_keep_it_true(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    environ = environment(data.root)
    now = datetime.now(UTC).replace(minute=0)
    now_ms = int(now.timestamp() * 1000)
    lines = [line(f"event-{n}", now_ms - n * HOUR_MS, visitor=("ann", "bob")[n % 2]) for n in range(60)]
    sealed(data, lines)
    fold(data, now_ms)
    run_here(["erase", "--visitor", "ann"], environ)
    run_foldlog(["compact", "--once"], environ)
    without = counted_events([each for each in as_mappings([lines]) if each.get("visitor") != "ann"])
    for command in (["rebuild"], ["retain"]):
        summary = summary_of(data)
        assert {site.site: site.events for site in summary.sites} == expected_events(without, summary)
        done = run_foldlog(command, environ)
        assert done.returncode == 0, done.stderr
