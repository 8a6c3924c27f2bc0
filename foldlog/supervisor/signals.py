"""Signals as flags that the supervisor's loop reads."""

from __future__ import annotations

import signal
from types import FrameType


def flag_of(*numbers: signal.Signals) -> list[bool]:
    """A list that is empty until one of these signals arrives."""
    flag: list[bool] = []

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        flag.append(True)

    for number in numbers:
        signal.signal(number, on_signal)
    return flag


def hangup_flag() -> list[bool]:
    """A list that is empty until SIGHUP arrives. The handler that reopens the log still
    runs.
    """
    flag: list[bool] = []
    own = signal.getsignal(signal.SIGHUP)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if callable(own):
            own(number, frame)
        flag.append(True)

    signal.signal(signal.SIGHUP, on_signal)
    return flag
