"""Snapshots of formats 1 and 2 as format 3 has them.

Their counters hold a day in one part: every dimension by quarter of an hour, and sums
of the whole UTC day beside them. Such a part has version 1, and is read as it is until
the day is written again.
"""

from __future__ import annotations

from typing import Any

from shared.schema import COUNTED_DIMENSIONS, NOT_IN_VERSION_1

_RENAMED = {"waiting": "missing", "forgotten": "dropped_days"}
_RENAMED_IN_RETENTION = {"doubted_since": "clock_suspect_since", "held": "on_hold"}


def as_format_3(snapshot: dict[str, Any]) -> dict[str, Any]:
    """The decoded JSON of a snapshot with the fields of format 3."""
    new = _renamed(snapshot, _RENAMED)
    new["retention"] = _renamed(new.get("retention", {}), _RENAMED_IN_RETENTION)
    new["days"] = {day: _day(kept) for day, kept in new.get("days", {}).items()}
    return new


def _renamed(fields: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in fields.items()}


def _day(kept: dict[str, Any]) -> dict[str, Any]:
    counters = kept.get("counters")
    quarters = ["event", *(name for name in COUNTED_DIMENSIONS if name not in NOT_IN_VERSION_1)]
    uncounted = list(NOT_IN_VERSION_1)
    return kept | {"counters": [counters] if counters else [], "quarters": quarters, "uncounted": uncounted}
