"""The result of one check of the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "wrong", "unknown"]


class Finding(NamedTuple):
    """The check, its level, what was found, and what to do unless it is well."""

    check: str
    level: Level
    found: str
    do: str = ""


def and_more(items: Sequence[object]) -> str:
    """How many items there are besides the first one, which is shown."""
    return f", and {len(items) - 1:,} more" if len(items) > 1 else ""
