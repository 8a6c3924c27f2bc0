"""How long what has failed waits before it is tried again."""

from __future__ import annotations

BACKOFF_MAX_S = 900.0


def backoff_s(first_s: float, failures: int, most_s: float = BACKOFF_MAX_S) -> float:
    """Twice as long after each failure, at most `most_s`, or `first_s` if that is
    longer. After the first failure it is twice `first_s`.
    """
    doubled = first_s * 2.0 ** min(failures, 30)
    return float(min(doubled, max(most_s, first_s)))
