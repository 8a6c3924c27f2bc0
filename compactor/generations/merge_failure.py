"""A day whose merge fails: it is tried three times, later each time, and then only with
another version, with new events or on request. Meanwhile its reports are answered from
what it has.
"""

from __future__ import annotations

from datetime import date

from msgspec.structs import replace

from compactor.fold.set_aside import build
from shared.generations.snapshot import Day, FailedMerge, Snapshot
from shared.timestamps import epoch_ms, rfc3339

# How long after the first failure, and after the second, the merge is tried again.
BACKOFF_S = (600, 3600)
MERGE_TRIES_MAX = len(BACKOFF_S) + 1


def may_merge(kept: Day, now_ms: int) -> bool:
    failure = kept.merge_failure
    if failure is None or failure.version != build():
        return True
    if failure.given_up:
        return False
    # A clock that was set back does not make it wait for longer.
    return not 0 <= now_ms - epoch_ms(failure.at) < BACKOFF_S[min(failure.tries, len(BACKOFF_S)) - 1] * 1000


def with_failure(kept: Day, reason: str, now_ms: int, *, is_of_day: bool = True) -> Day:
    """The day after one more failure. One that is not the day's, such as a full disk,
    is never the last.
    """
    tries = 1 + (kept.merge_failure.tries if kept.merge_failure else 0)
    given_up = is_of_day and tries >= MERGE_TRIES_MAX
    return replace(kept, merge_failure=FailedMerge(reason, tries, rfc3339(now_ms), build(), given_up))


def failed_days(snapshot: Snapshot) -> list[date]:
    """Days whose merge has failed, once or more."""
    return [day for day, kept in snapshot.days.items() if kept.merge_failure]
