"""Questions are the same only where their answers are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.query import parse
from reports.reader.question import question_of

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ZONES = sorted(zone for zone in available_timezones() if not zone.startswith(("right/", "posix/")))


def test_order_of_the_parameters_does_not_matter() -> None:
    one, other = {"by": "path", "limit": "3"}, {"limit": "3", "by": "path"}
    assert question_of(one, "json", NOON) == question_of(other, "json", NOON)


def test_parameters_and_format_matter() -> None:
    asked = {"by": "path", "to": "2026-11-22"}
    questions = {question_of(asked, "json", NOON), question_of(asked, "csv", NOON), question_of({}, "json", NOON)}
    assert len(questions) == 3


def test_question_with_an_end_is_the_same_at_any_time() -> None:
    asked = {"to": "2026-11-22"}
    assert question_of(asked, "json", NOON) == question_of(asked, "json", NOON + timedelta(days=3))


def test_comparison_is_another_question_each_quarter_of_an_hour() -> None:
    asked = {"from": "2026-11-22", "to": "2026-11-22", "compare": "previous"}
    quarters = [question_of(asked, "json", NOON + timedelta(minutes=minutes)) for minutes in (0, 14, 15)]
    assert quarters[0] == quarters[1] != quarters[2]


@pytest.mark.parametrize("asked", [{}, {"to": ""}, {"from": "2026-11-20"}])
def test_question_about_today_is_another_one_after_midnight(asked: dict[str, str]) -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    before = question_of(asked, "json", midnight - timedelta(microseconds=1))
    assert before != question_of(asked, "json", midnight)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001  UTC is set below
    st.timedeltas(timedelta(0), timedelta(minutes=15)),
    st.sampled_from(ZONES),
)
def test_equal_questions_are_about_the_same_time(now: datetime, later: timedelta, tz: str) -> None:
    now = now.replace(tzinfo=UTC)
    asked = {"tz": tz, "compare": "previous"}
    if question_of(asked, "json", now) == question_of(asked, "json", now + later):
        assert parse(asked, now, "UTC") == parse(asked, now + later, "UTC")


def test_every_zone_begins_its_days_with_a_quarter_of_an_hour() -> None:
    instants = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days) for days in range(0, 730, 10)]
    offsets = {instant.astimezone(ZoneInfo(zone)).utcoffset() for zone in ZONES for instant in instants}
    assert [offset for offset in offsets if offset is None or offset % timedelta(minutes=15)] == []
