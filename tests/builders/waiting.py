"""Waiting for what another process will do, with an end to it."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0  # on a machine that has much else to do


def until(condition: Callable[[], object], why_not: Callable[[], object] = str, timeout_s: float = PATIENCE_S) -> float:
    """Returns after how many seconds it was so. When it does not become so, the failure
    shows what `why_not` gives.
    """
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, why_not()
        time.sleep(0.02)
    return time.monotonic() - started
