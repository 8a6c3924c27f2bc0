"""An event as a line of the spool, which is also how it stands in a request.

Only what can never be sent is refused here. Everything else is the server's to say: it
knows its own rules.
"""

from __future__ import annotations

import json
import time as clock
from collections.abc import Mapping
from datetime import datetime
from typing import Any

MAX_BYTES = 32_768  # of one event, as docs/api.md says


def encode(fields: Mapping[str, Any]) -> bytes:
    """One line. Raises ValueError for what is no JSON or longer than any server takes,
    TypeError for a value of a type that JSON does not have.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if not given.get("name"):
        raise ValueError("an event needs a name")
    given["time"] = _milliseconds(given.get("time"))
    line = _utf8(given)
    if len(line) > MAX_BYTES:
        raise ValueError(f"the event has {len(line):,} bytes, and may have {MAX_BYTES:,}")
    return line


def _milliseconds(moment: datetime | int | None) -> int:
    if moment is None:
        return clock.time_ns() // 1_000_000
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError("time has no zone: use datetime.now(timezone.utc)")
        return round(moment.timestamp() * 1000)
    return int(moment)


def _utf8(given: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(given, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:  # half a character, which UTF-8 does not have
        return json.dumps(given, allow_nan=False, separators=(",", ":")).encode("ascii")
