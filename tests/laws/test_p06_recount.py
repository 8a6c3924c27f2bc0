"""P6: whatever order events come in, however they are split into segments and passes
and however often each is sent, reports say what a recount in plain Python says: before
days are merged and after, at the edges of days in zones of half and quarter hours, and
with more values than are counted by name.
"""

from __future__ import annotations

import random
import string
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.schema import DIMENSIONS
from shared.timestamps import epoch_ms, utc_day
from tests.builders.archive import assert_verified
from tests.builders.logs import FIREFOX, GOOGLEBOT, data_directory, fold, fold_all, line, sealed
from tests.builders.questions import DAY_MS, QUARTER_MS, as_mappings, ask, day_of, questions
from tests.builders.recount import IPHONE, Answer, Counted, counted_events, recount

OTHER = "(other)"
MAX_VALUES = 3
FLOODED = ("event", "site", "path", "referrer", "utm_source", "utm_campaign", "country", "language")
# An ordinary day, and those on which Berlin and St. John's put their clocks back.
NOONS = tuple(epoch_ms(f"{day}T12:00:00Z") for day in ("2026-11-22", "2026-10-25", "2026-11-01"))
# Hours before noon (UTC) at which a day begins in one of the zones, on two days.
MIDNIGHTS = (12, 13, 14, 17.5, 17.75, 8.5, 9.5, 36, 37, 38, 41.5, 41.75, 32.5, 33.5)

ago_ms = st.one_of(
    st.sampled_from(MIDNIGHTS).flatmap(lambda hours: st.integers(-1, 1).map(lambda ms: int(hours * 3_600_000) + ms)),
    st.integers(0, 60 * 4).map(lambda quarters: quarters * QUARTER_MS),
)


@st.composite
def events(draw: st.DrawFn, noon: int, ids: int = 24) -> Line:
    return line(
        f"event-{draw(st.integers(0, ids))}",
        noon - draw(ago_ms),
        noon + draw(st.integers(0, 5)) * 60_000,
        name=draw(st.sampled_from(["pageview", "signup"])),
        site=draw(st.sampled_from(["example.com", "example.com", "www.other.org"])),
        visitor=draw(st.sampled_from(["ann", "bob", "cat", None])),
        url=draw(st.sampled_from(["https://example.com/a?utm_source=x%20y+z&utm_medium=m#f", "https://e.com?a", None])),
        referrer=draw(st.sampled_from(["https://u:p@Other.org:8080/x", "https://example.com/", None])),
        ua=draw(st.sampled_from([FIREFOX, IPHONE, GOOGLEBOT, None])),
        country=draw(st.sampled_from(["DE", "FR", None])),
        language=draw(st.sampled_from(["de", None])),
    )


@st.composite
def segments(draw: st.DrawFn, ids: int = 24) -> tuple[int, list[list[Line]]]:
    """A noon, and the lines of each segment."""
    noon = draw(st.sampled_from(NOONS))
    one = st.lists(events(noon, ids), min_size=1, max_size=8)
    return noon, draw(st.lists(one, min_size=2, max_size=6))


def folded_in_passes(
    root: Path, noon: int, written: list[list[Line]], cuts: list[bool], **given_: Any
) -> DataDirectory:
    data = data_directory(root)
    for number, lines in enumerate(written):
        sealed(data, lines, str(number % 2))
        if cuts[number % len(cuts)]:
            fold(data, noon, max_bytes=1, **given_)  # one segment a pass, others left for later
    fold_all(data, noon, max_bytes=1, **given_)
    return data


def merge_days(data: DataDirectory, noon: int, **given_: Any) -> None:
    """Passes until no day is left that can be merged: at most one a pass."""
    for number in range(6):
        fold(data, noon + 2 * DAY_MS + number * 60_000, **given_)


# Each example is many passes and many reports, of some seconds: a fiftieth of what
# other properties get.
SOME = settings(
    max_examples=max(2, settings().max_examples // 50), deadline=None, suppress_health_check=list(HealthCheck)
)
# Of each day in the long tier.
DAYS_BACK = (0, 1, 2) if settings().max_examples >= 100 else (1,)
CUTS = st.lists(st.booleans(), min_size=1, max_size=6)


@pytest.mark.timeout(600)
@SOME
@given(segments(), CUTS, st.randoms(use_true_random=False))
def test_reports_after_any_split_are_those_of_a_recount(
    written: tuple[int, list[list[Line]]], cuts: list[bool], pick: Any
) -> None:
    noon, lines = written
    counted = counted_events(as_mappings(lines))
    asked = questions(noon, pick)
    with tempfile.TemporaryDirectory() as root:
        data = folded_in_passes(Path(root), noon, lines, cuts)
        assert load_snapshot(data).totals.counted == len(counted)
        for question, answer in ask(data, asked):
            assert answer == recount(counted, question), question
        merge_days(data, noon)
        for question, answer in ask(data, asked):
            assert answer == recount(counted, question), f"{question}, merged"
        assert_verified(data)


@pytest.mark.timeout(600)
@SOME
@given(segments(ids=200), CUTS, st.randoms(use_true_random=False))
def test_above_the_cap_totals_and_what_is_named_are_exact(
    written: tuple[int, list[list[Line]]], cuts: list[bool], pick: Any
) -> None:
    noon, lines = written
    for each in (each for of in lines for each in of):
        _make_values(each)
    counted = counted_events(as_mappings(lines))
    capped: dict[str, Any] = {"max_values": MAX_VALUES}
    with tempfile.TemporaryDirectory() as root:
        data = folded_in_passes(Path(root), noon, lines, cuts, **capped)
        assert_caps_hold(data, counted, noon, pick, is_merged=False)
        merge_days(data, noon, **capped)
        assert_caps_hold(data, counted, noon, pick, is_merged=True)
        late = line("late-event", noon - DAY_MS, noon + 2 * DAY_MS, url="https://example.com/late", name="late")
        sealed(data, [late])
        fold(data, noon + 2 * DAY_MS, **capped)
        merge_days(data, noon + 2 * DAY_MS, **capped)
        counted = counted_events([*as_mappings(lines), msgspec.to_builtins(late)])
        assert_caps_hold(data, counted, noon, pick, is_merged=True)
        assert_verified(data, **capped)


def _make_values(each: Line) -> None:
    """Some values that are common and many that are rare, from what the event has."""
    number = int(each.id.rpartition("-")[2])
    value = number if number % 3 else number % 4
    each.url = f"https://example.com/{value}?utm_source=s{value}&utm_campaign=c{number}"
    each.referrer = f"https://{value}.org/"
    each.name = f"{each.name}-{value}"
    each.site = f"{value}.example"
    each.country = each.language = string.ascii_lowercase[value % 26]


@pytest.mark.timeout(600)
@pytest.mark.long
def test_a_flood_over_every_cap(tmp_path: Path) -> None:
    """Sure to be over the caps, which a random example may not be."""
    pick = random.Random(5)
    noon = NOONS[0]
    lines = [[_random_line(pick, noon) for _ in range(150)] for _ in range(12)]
    counted = counted_events(as_mappings(lines))
    capped: dict[str, Any] = {"max_values": MAX_VALUES}
    data = folded_in_passes(tmp_path, noon, lines, [True, False, False], **capped)
    assert_caps_hold(data, counted, noon, pick, is_merged=False)
    merge_days(data, noon, **capped)
    assert_caps_hold(data, counted, noon, pick, is_merged=True)
    day = day_of(noon - DAY_MS)
    asked = [{"from": day, "to": day, "by": name, "bots": "include"} for name in FLOODED]
    found = {question["by"]: answer.rows.get((None, OTHER), (0, 0))[0] for question, answer in ask(data, asked)}
    assert min(found.values()) > 50, found
    assert_verified(data, **capped)


def _random_line(pick: random.Random, noon: int) -> Line:
    received = noon + pick.randrange(60_000)
    made = line(
        f"event-{pick.randrange(1200)}", noon - pick.randrange(2 * DAY_MS), received, visitor=pick.choice("abc")
    )
    _make_values(made)
    return made


def assert_caps_hold(data: DataDirectory, counted: list[Counted], noon: int, pick: Any, *, is_merged: bool) -> None:
    """Of questions at any edge the totals; of whole days each row, too."""
    for question, answer in ask(data, questions(noon, pick)):
        assert_sums_to(answer, recount(counted, question), question)
    snapshot = load_snapshot(data)
    for day in (day for back in DAYS_BACK if (day := utc_day(noon - back * DAY_MS)) in snapshot.days):
        whole = {"from": str(day), "to": str(day), "bots": "include"}
        for question, answer in ask(data, [{**whole, "by": name} for name in DIMENSIONS]):
            exact = recount(counted, question)
            assert_is_capped(answer, exact, question)
            if question["by"] not in snapshot.days[day].capped:
                assert answer == exact, question
                assert not is_merged or len(named(exact)) <= MAX_VALUES, question
            else:
                assert len(named(answer)) <= MAX_VALUES, question


def named(answer: Answer) -> dict[str, tuple[int, int]]:
    """The rows of values, without that of no value and that of all others."""
    return {value: numbers for (_, value), numbers in answer.rows.items() if value not in (None, OTHER)}


def assert_sums_to(answer: Answer, exact: Answer, question: Mapping[str, str]) -> None:
    """The total is exact; so is the sum of each bucket; and no value has more events
    than there are.
    """
    assert answer.total == exact.total, question
    assert _by_bucket(answer) == _by_bucket(exact), question
    for (bucket, value), (events, visitors) in answer.rows.items():
        if value != OTHER:
            assert events <= exact.rows[bucket, value][0], question
            assert visitors <= exact.rows[bucket, value][1], question


def _by_bucket(answer: Answer) -> Counter[str | None]:
    sums: Counter[str | None] = Counter()
    for (bucket, _), (events, _visitors) in answer.rows.items():
        sums[bucket] += events
    return sums


def assert_is_capped(answer: Answer, exact: Answer, question: Mapping[str, str]) -> None:
    """One whole UTC day: what is named is exact and the most frequent; of values with
    equally many events all are named, or none; `(other)` is the rest.
    """
    assert answer.total == exact.total, question
    kept = {value: numbers for (_, value), numbers in answer.rows.items() if value != OTHER}
    events = {value: numbers[0] for (_, value), numbers in exact.rows.items()}
    assert kept == {value: exact.rows[None, value] for value in kept}, question
    least = min((events[value] for value in kept), default=0)
    assert all(count < least for value, count in events.items() if value not in kept) or not kept, question
    rest = sum(count for value, count in events.items() if value not in kept)
    assert answer.rows.get((None, OTHER), (0, 0))[0] == rest, question
    if rest:  # of those that are left out, the most frequent would have been too many
        most = max(count for value, count in events.items() if value not in kept)
        assert len(kept) + sum(count == most for count in events.values()) > MAX_VALUES, question
