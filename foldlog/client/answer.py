"""What an answer says about the events of its request: a pure function of status,
Retry-After and body.

A 200 counts only if it is Foldlog's own, and speaks of as many events as were sent:
that of a captive portal or a placeholder page acknowledges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

# A time in which the same request may be taken: it was slow, or one too many.
_TRY_AGAIN = {408, 425, 429}
MAX_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True)
class Refusal:
    """Events that the server will never take, and why. `code`, `field` and `detail` are
    those of docs/api.md. `is_kept`: the batch was refused as a whole, and its file is
    in the spool, as `.refused`.
    """

    status: int
    code: str
    detail: str
    events: Sequence[Mapping[str, Any]]
    field: str | None = None
    is_kept: bool = False


@dataclass(frozen=True)
class Verdict:
    """`done`: nothing of the request is to be sent again. `halve`: it was too large."""

    kind: Literal["done", "again", "halve", "refused"]
    refusals: tuple[Refusal, ...] = ()
    retry_after_s: float | None = None
    why: str = ""


def judge(status: int, retry_after: str | None, body: bytes, events: Sequence[Mapping[str, Any]]) -> Verdict:
    said = _object(body)
    if status in (200, 202, 422) and isinstance(said.get("rejected"), list):
        return _per_event(status, said, events)
    if status < 300 or status >= 500 or status in _TRY_AGAIN:
        return Verdict("again", retry_after_s=_seconds(retry_after), why=f"it answers {status} {_code(said)}".rstrip())
    if status == 413 and len(events) > 1:
        return Verdict("halve")
    refusal = Refusal(status, _code(said), str(said.get("detail", "")), events, is_kept=status != 413)
    return Verdict("done" if status == 413 else "refused", (refusal,))


def _per_event(status: int, said: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Verdict:
    rejected = [each for each in said["rejected"] if isinstance(each, dict)]
    indices = {index for each in rejected if isinstance(index := each.get("index"), int) and 0 <= index < len(events)}
    if len(indices) != len(said["rejected"]) or said.get("accepted") != len(events) - len(indices):
        return Verdict("again", why="its answer speaks of other events")
    return Verdict(
        "done",
        tuple(
            Refusal(
                status, str(each.get("code", "")), str(each.get("detail", "")), [events[each["index"]]], _field(each)
            )
            for each in rejected
        ),
    )


def _field(rejection: Mapping[str, Any]) -> str | None:
    return None if rejection.get("field") is None else str(rejection["field"])


def _code(said: Mapping[str, Any]) -> str:
    return str(said.get("code", ""))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _seconds(retry_after: str | None) -> float | None:
    """Seconds or a date, as RFC 9110 has it; an hour at most."""
    if not retry_after:
        return None
    try:
        wait_s = float(int(retry_after))
    except ValueError:
        try:
            wait_s = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
