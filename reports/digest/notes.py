"""Which bar of a digest's chart an annotation belongs to. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from reports.digest.questions import Note, Report
from shared.annotations import Annotation


def notes_of(chart: Report, kept: Iterable[Annotation], site: str | None) -> tuple[Note, ...]:
    """The annotations of the time of a chart, in order; with `site` those of that site
    and of all sites.
    """
    starts = [datetime.fromisoformat(row["time"]) for row in chart["rows"]]
    if not starts:
        return ()
    end = datetime.fromisoformat(chart["to"])
    found = [_placed(each, starts, end) for each in kept if site is None or each.site in (None, site)]
    return tuple(sorted(note for note in found if note is not None))


def _placed(annotation: Annotation, starts: Sequence[datetime], end: datetime) -> Note | None:
    """None outside the time of the chart. A date is that of the chart's zone."""
    if len(annotation.at) == 10:
        day = date.fromisoformat(annotation.at)
        ends = [*starts[1:], end]
        for bar, (start, after) in enumerate(zip(starts, ends, strict=True)):
            if start.date() <= day <= (after - timedelta(microseconds=1)).date():
                return Note(bar, annotation.at, annotation.text)
        return None
    moment = annotation.moment
    bar = bisect_right(starts, moment) - 1
    if bar < 0 or moment >= end:
        return None
    return Note(bar, f"{moment.astimezone(starts[bar].tzinfo):%Y-%m-%d %H:%M}", annotation.text)
