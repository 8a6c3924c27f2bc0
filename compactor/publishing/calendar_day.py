"""SQL of the calendar day of a time zone that an instant of a UTC day is in."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from shared.generations.day_cuts import cut_spans
from shared.timestamps import utc_naive


def calendar_day(day: date, zone: str) -> str:
    """SQL of the day of a zone that `bucket`, in a UTC day, is in."""
    spans = ((start.astimezone(ZoneInfo(zone)).date(), utc_naive(end)) for start, end in cut_spans(day, zone))
    cases = " ".join(f"WHEN bucket < TIMESTAMP '{end}' THEN DATE '{local}'" for local, end in spans)
    return f"CASE {cases} END"
