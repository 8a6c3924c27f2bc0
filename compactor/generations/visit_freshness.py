"""Which days have visits that still hold, and whose are to be made next. Pure.

The visits of a day are made of its own events, of those of the following day, and of
the visits that go on from the day before. Where one of these has changed they are
dropped from the next snapshot, and made again later; a reader answers from the archive
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

from msgspec.structs import replace

from compactor.generations.merge_failure import may_merge
from shared.generations.snapshot import Day, Part, Snapshot
from shared.sql.visits import FIRST_DAY, LAST_DAY
from shared.timestamps import epoch_ms, utc_day

# After the last event that came to the following day.
QUIET_MS = 3_600_000
_ONE = timedelta(days=1)
_NONE = Day("")


def generations_of(parts: tuple[Part, ...]) -> tuple[int, ...]:
    return tuple(sorted(part.generation for part in parts))


def without_stale_visits(after: Snapshot) -> Snapshot:
    """The snapshot without visits that do not hold any more. Those of a day whose
    archive has expired stay as they were counted.
    """
    days = {
        day: replace(kept, sessions=(), visits=(), visits_of=None)
        for day, kept in after.days.items()
        if kept.visits_of is not None and not _holds(after, day, kept)
    }
    return replace(after, days={**after.days, **days}) if days else after


def _holds(snapshot: Snapshot, day: date, kept: Day) -> bool:
    of = kept.visits_of
    if kept.expired:
        return not kept.archive  # events that came afterwards are of no visit
    following, earlier = (snapshot.days.get(day + shift, _NONE) for shift in (_ONE, -_ONE))
    if of is None or of.archive != generations_of(kept.archive):
        return False
    if not following.expired and of.following != generations_of(following.archive):
        return False
    return earlier.expired or earlier.visits_of is None or earlier.visits_of.reaches == of.reached


def with_merged_part(snapshot: Snapshot, day: date, merged: Day) -> dict[date, Day]:
    """The days that change with a merge of the archive parts of a day: its events are
    the same, so visits that were made of the old parts are made of the new ones.
    """
    old, new = generations_of(snapshot.days[day].archive), generations_of(merged.archive)
    days = {day: merged}
    if merged.visits_of and merged.visits_of.archive == old:
        days[day] = replace(merged, visits_of=replace(merged.visits_of, archive=new))
    earlier = snapshot.days.get(day - _ONE, _NONE) if day > FIRST_DAY else _NONE
    if old != new and earlier.visits_of and earlier.visits_of.following == old:
        days[day - _ONE] = replace(earlier, visits_of=replace(earlier.visits_of, following=new))
    return days


def days_to_make(snapshot: Snapshot, now_ms: int, is_merged: Callable[[Day], bool]) -> Iterator[date]:
    """Days whose visits can be made: merged, once the following one is over, after the
    day before. Oldest first.
    """
    for day, kept in sorted(snapshot.days.items()):
        is_due = kept.archive and kept.visits_of is None and not kept.expired and may_merge(kept, now_ms)
        if is_due and FIRST_DAY < day < LAST_DAY and is_merged(kept):
            following, earlier = (snapshot.days.get(day + shift) for shift in (_ONE, -_ONE))
            if _is_over(day, following, now_ms, is_merged) and (earlier is None or not is_waited_for(earlier)):
                yield day


def _is_over(day: date, following: Day | None, now_ms: int, is_merged: Callable[[Day], bool]) -> bool:
    """Whether the following day has its events, as far as one can tell. Late events may
    still come to it, and what is made is then made again: not while they do.
    """
    if following is None:
        return day + 2 * _ONE < utc_day(now_ms)
    is_quiet = day + 2 * _ONE <= utc_day(now_ms) and now_ms - epoch_ms(following.added_at) >= QUIET_MS
    return is_quiet or following.expired or is_merged(following)


def is_waited_for(earlier: Day) -> bool:
    """Whether visits may go on from a day that does not say which."""
    has_failed = earlier.merge_failure is not None and earlier.merge_failure.given_up
    return earlier.visits_of is None and bool(earlier.archive) and not earlier.expired and not has_failed
