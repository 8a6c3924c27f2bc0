"""Times as in the log and in every file: UTC with milliseconds,
`2026-11-22T15:59:58.120Z`.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

DAY_S = 86_400


def now_ms() -> int:
    """Wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def rfc3339(epoch_ms: int) -> str:
    """`2026-11-22T15:59:58.120Z` from epoch milliseconds."""
    return _SECONDS[epoch_ms // 1000] + _MILLISECONDS[epoch_ms % 1000]


class _Seconds(dict[int, str]):
    """A cache of formatted seconds: the events of a batch share few, and formatting is
    most of the cost.
    """

    def __missing__(self, epoch_s: int) -> str:
        if len(self) >= _SECONDS_MAX:
            self.clear()
        text = self[epoch_s] = datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return text


_SECONDS_MAX = 4096
_SECONDS = _Seconds()
_MILLISECONDS = [f"{milliseconds:03d}Z" for milliseconds in range(1000)]


def epoch_ms(text: str) -> int:
    """Epoch milliseconds from RFC 3339 text with a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return round(moment.timestamp() * 1000)


def utc_naive(moment: datetime) -> datetime:
    """An instant as a TIMESTAMP column has it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def utc_day(epoch_ms: int) -> date:
    """The UTC calendar day that an instant falls on."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).date()
