"""Times as they stand in the log and in every file: UTC, milliseconds, `2026-11-22T15:59:58.120Z`."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from functools import lru_cache

DAY_S = 86_400


def now_ms() -> int:
    """Wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def rfc3339(epoch_ms: int) -> str:
    """`2026-11-22T15:59:58.120Z` from epoch milliseconds."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{_to_the_second(seconds)}{milliseconds:03d}Z"


@lru_cache(maxsize=4096)
def _to_the_second(epoch_s: int) -> str:
    # Events of one batch share few seconds: formatting each second once is most of the cost saved.
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def epoch_ms(text: str) -> int:
    """Epoch milliseconds from RFC 3339 text with a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return round(moment.timestamp() * 1000)


def utc_day(epoch_ms: int) -> date:
    """The UTC calendar day that an instant falls on."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).date()
