"""What a client may send: the types that decode and validate a batch in one pass. docs/api.md lists the same fields."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Raw, Struct

EVENT_MAX_BYTES = 32 << 10
EPOCH_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

Moment = Annotated[datetime, Meta(tz=True)] | Annotated[int, Meta(ge=0, le=EPOCH_MS_MAX)]
Identity = Annotated[str, Meta(min_length=1, max_length=100)]
Address = Annotated[str, Meta(min_length=1, max_length=2000)]
# Beyond these, readers that keep numbers as doubles would show another one.
Whole = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
Property = Annotated[str, Meta(max_length=2000)] | float | Whole | bool | None
Props = Annotated[dict[Annotated[str, Meta(min_length=1, max_length=100)], Property], Meta(max_length=30)]


class Event(Struct, forbid_unknown_fields=True, gc=False):
    """One event as the client sends it. `null` means absent. Rules that types cannot say are in verdict.py."""

    name: Annotated[str, Meta(min_length=1, max_length=120)]
    id: Annotated[str, Meta(min_length=8, max_length=64)] | None = None
    time: Moment | None = None
    visitor: Identity | None = None
    session: Identity | None = None
    url: Address | None = None
    referrer: Address | None = None
    value: float | None = None
    props: Props | None = None


class Batch(Struct, forbid_unknown_fields=True):
    """The body of `application/json` and `text/plain`. NDJSON is a batch without the other two fields."""

    events: list[Event]
    sent_at: Moment | None = None
    consent: str | None = None


class RawBatch(Struct, forbid_unknown_fields=True):
    """The same with its events left undecoded, so that one bad event does not cost the others."""

    events: list[Raw]
    sent_at: Moment | None = None
    consent: str | None = None
