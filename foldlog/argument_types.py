"""Values of options: each function returns the value, or raises ArgumentTypeError with
what would be accepted.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from shared.host_names import SITE, lower_host

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def visitor(text: str) -> str:
    """A visitor id as events carry it: not empty, and UTF-8."""
    if not text:
        raise argparse.ArgumentTypeError("a visitor id is not empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("it is not UTF-8") from None
    return text


def site(text: str) -> str:
    """A site as events carry it: a host name in lower case."""
    if not SITE.fullmatch(lower_host(text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a host name such as example.com, without scheme, port and path"
        )
    return lower_host(text)


def between(low: float, high: float) -> Callable[[str], float]:
    """The type of a number from `low` to `high`."""

    def number(text: str) -> float:
        if not low <= float(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low:g} to {high:,g}")
        return float(text)

    return number


def whole(low: int, high: int) -> Callable[[str], int]:
    """The type of a whole number from `low` to `high`."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text[:20]) <= high):
            raise argparse.ArgumentTypeError(f"{text[:20]} is not a whole number from {low:,} to {high:,}")
        return int(text)

    return number


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return int(text)


def day(text: str) -> date:
    """A day such as 2026-11-22."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a day such as 2026-11-22") from None


def zone(text: str) -> ZoneInfo:
    """A time zone such as Europe/Berlin."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time zone such as Europe/Berlin") from None


def duration(text: str) -> float:
    """Seconds, from a number and its unit: `90s`, `30m`, `1h`, `7d`."""
    number, unit = text[:-1], text[-1:]
    if unit not in _SECONDS or not re.fullmatch(r"\d{1,6}", number):
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 90s, 30m, 1h or 7d")
    return float(number) * _SECONDS[unit]
