"""What fails for long is tried again in bounded time, however often it has failed."""

from __future__ import annotations

from compactor.backoff import backoff_s
from compactor.publishing.publisher import RETRY_MAX_S, RETRY_S


def test_a_store_that_is_down_for_days_is_still_tried() -> None:
    """Without a bound the doubled time exceeds a float after a thousand failures."""
    assert [backoff_s(RETRY_S, failures, RETRY_MAX_S) for failures in range(3)] == [5.0, 10.0, 20.0]
    assert backoff_s(RETRY_S, 10_000, RETRY_MAX_S) == RETRY_MAX_S
