"""The fields of an event and a batch: types that decode and validate them in one pass.
docs/api.md lists the same fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

from msgspec import Meta, Raw, Struct
from msgspec.structs import astuple

from shared.lateness import LATENESS_H

EVENT_MAX_BYTES = 32 << 10
URL_MAX = 2000
SESSION_MAX = 100
EPOCH_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

# Of events that are larger than one may be, those up to this size are adjusted.
ADJUSTED_MAX_BYTES = 64 << 10

# Rules of validate.py, for the OpenAPI document only: as Meta(pattern=…) msgspec would
# match them here as well.
_NO_CONTROL_CHARS = r"[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
_WITHOUT_CONTROL_CHARS = {"pattern": f"^{_NO_CONTROL_CHARS}"}
_HTTP = {"pattern": f"^[Hh][Tt][Tt][Pp][Ss]?://{_NO_CONTROL_CHARS}"}
_ID = {"pattern": "^[A-Za-z0-9_-]*$"}

Moment = Annotated[datetime, Meta(tz=True)] | Annotated[int, Meta(ge=0, le=EPOCH_MS_MAX)]
EventId = Annotated[str, Meta(min_length=8, max_length=64, extra_json_schema=_ID)]
Identity = Annotated[str, Meta(min_length=1, max_length=SESSION_MAX, extra_json_schema=_WITHOUT_CONTROL_CHARS)]
HttpUrl = Annotated[str, Meta(min_length=1, max_length=URL_MAX, extra_json_schema=_HTTP)]
_PAGE_OR_APP = {"pattern": f"^([Hh][Tt][Tt][Pp][Ss]?://|(android|ios)-app://[^/?#]){_NO_CONTROL_CHARS}"}
Referrer = Annotated[str, Meta(min_length=1, max_length=URL_MAX, extra_json_schema=_PAGE_OR_APP)]
# Beyond these a reader that keeps numbers as doubles shows another number.
WHOLE_MAX = 2**53 - 1
Whole = Annotated[int, Meta(ge=-WHOLE_MAX, le=WHOLE_MAX)]
# 1e20 is accepted, the same number with all its digits is not. JSON Schema cannot tell
# them apart, so it allows neither.
Number = Annotated[float, Meta(extra_json_schema={"minimum": -WHOLE_MAX, "maximum": WHOLE_MAX})] | Whole
Property = Annotated[str, Meta(max_length=2000)] | Number | bool | None
Props = Annotated[dict[Annotated[str, Meta(min_length=1, max_length=100)], Property], Meta(max_length=30)]


class VisitorBehind(Struct, forbid_unknown_fields=True, eq=True):
    """The visitor for whom a server sends. `null` means absent."""

    address: Annotated[str, Meta(min_length=1, max_length=64, description="IPv4 or IPv6; never stored.")]
    user_agent: Annotated[str | None, Meta(description="The header that its browser sent.")] = None
    language: Annotated[str | None, Meta(description="Its Accept-Language, or a tag such as `de`.")] = None

    def __hash__(self) -> int:
        return hash((self.address, self.user_agent, self.language))


Site = Annotated[str, Meta(min_length=1, max_length=255)]


class Event(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """One event as the client sends it. `null` means absent. The order of the fields is
    the order in the log (encode.py).
    """

    # Rules that types cannot express are in validate.py.
    id: Annotated[
        EventId | None, Meta(description="Copies with the same id from the same sender on the same site count once.")
    ] = None
    name: Annotated[str, Meta(min_length=1, max_length=120, extra_json_schema=_WITHOUT_CONTROL_CHARS)]
    time: Annotated[
        Moment | None, Meta(description=f"When it happened: at most {LATENESS_H} hours ago. Default: now.")
    ] = None
    visitor: Annotated[Identity | None, Meta(description="No placeholder such as `undefined` or `anonymous`.")] = None
    session: Annotated[Identity | None, Meta(description="What does not fit is left out, and listed as adjusted.")] = (
        None
    )
    url: Annotated[
        HttpUrl | None, Meta(description="Of one that is too long the query is cut, and listed as adjusted.")
    ] = None
    referrer: Annotated[Referrer | None, Meta(description="What does not fit is left out, and listed as adjusted.")] = (
        None
    )
    value: Number | None = None
    props: Props | None = None
    site: Annotated[Site | None, Meta(description="With a key only: one of FOLDLOG_SITES, or any host.")] = None
    client: Annotated[VisitorBehind | None, Meta(description="With a key only: the visitor behind a server.")] = None


class Columns(NamedTuple):
    """The fields of many events, field by field, without absent values: checking a
    field of all events at once costs a fraction.
    """

    id: list[str]
    name: tuple[str, ...]
    time: list[datetime | int]
    visitor: list[str]
    session: list[str]
    url: list[str]
    referrer: list[str]
    value: list[float | int]
    props: list[dict[str, Property]]


def columns_of(events: Sequence[Event]) -> Columns | None:
    """The columns of one event or more; None where one names its site or client."""
    id_, name, time, visitor, session, url, referrer, value, props, site, client = zip(
        *map(astuple, events), strict=True
    )
    if any(site) or any(client):
        return None
    present = [list(filter(None, texts)) for texts in (id_, visitor, session, url, referrer)]  # no valid text is empty
    rest = [[each for each in column if each is not None] for column in (time, value, props)]
    return Columns(present[0], name, rest[0], present[1], present[2], present[3], present[4], rest[1], rest[2])


class Batch(Struct, forbid_unknown_fields=True):
    """The body of `application/json` and `text/plain`. NDJSON is a batch without the
    other two fields.
    """

    events: Annotated[
        list[Event], Meta(description="At most FOLDLOG_MAX_EVENTS (500).", extra_json_schema={"minItems": 1})
    ]
    sent_at: Annotated[
        Moment | None,
        Meta(description="The sender's clock. Its difference to the server's is subtracted from each `time`."),
    ] = None
    consent: Annotated[str | None, Meta(extra_json_schema={"enum": ["granted", None]})] = None
    site: Annotated[Site | None, Meta(description="With a key only: that of the events that name none.")] = None


class RawBatch(Struct, forbid_unknown_fields=True):
    """A batch with undecoded events, so that one bad event does not cost the others."""

    events: list[Raw]
    # JSON has one kind of number: 1795960353442.0 is a whole one.
    sent_at: Moment | Annotated[float, Meta(ge=0, le=EPOCH_MS_MAX, multiple_of=1)] | None = None
    consent: str | None = None
    site: Site | None = None
