"""Schemas of the HTTP responses, for ingest/http/openapi_document.py. That of the
status is in shared/status.py.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Count = Annotated[int, Meta(ge=0)]
Instant = Annotated[datetime, Meta(tz=True)]


class Response(Struct, forbid_unknown_fields=True):
    """Base of schema-only types; never instantiated."""


class Rejected(Response):
    """Why one event was rejected. `code` is stable, `detail` is for people.

    `field` is absent when the event as a whole is invalid.
    """

    index: Count
    code: str
    detail: str
    field: str | UnsetType = UNSET


class Adjusted(Response):
    """What was left out of an event that was stored, or cut. `code` is stable."""

    index: Count
    field: str
    code: str


class Stored(Response):
    """Every event that is not listed under `rejected` was stored. `adjusted` is there
    only where something was left out of one.
    """

    accepted: Count
    rejected: list[Rejected]
    adjusted: list[Adjusted] | UnsetType = UNSET


class Problem(Response):
    """RFC 9457. `code` is stable, `detail` is for people."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str


class VisitorSite(Response):
    site: str | None
    events: Count


class VisitorEvents(Response):
    """Of the archive. `days`: how many have events; null where there are too many to
    look at.
    """

    events: Count
    days: Count | None
    first_day: str | None
    last_day: str | None
    sites: list[VisitorSite]
    generation: Count
    as_of: Instant


class KeptGoal(Response):
    name: str
    filter: str
    value: float | None


class Goals(Response):
    """`reason`: what of goals.json is not read."""

    goals: list[KeptGoal]
    reason: str | UnsetType = UNSET


class KeptFilter(Response):
    name: str
    filter: str


class Filters(Response):
    """`reason`: what of goals.json is not read."""

    filters: list[KeptFilter]
    reason: str | UnsetType = UNSET


class ConfirmedDeletion(Response):
    """A hold that is confirmed: `days` of `kept_days` UTC days, and their bytes."""

    kind: Literal["log", "archive", "counters"]
    first: date
    last: date
    days: Count
    kept_days: Count
    bytes: Count
    state: Literal["confirmed"]


class ListedToken(Response):
    """`sites`: those that it is for, null for all. `use`: of a pixel. `last_used`: on
    this host, to the minute; null where it is not known. `valid_on`: this host, or all
    of the store.
    """

    id: str
    scope: Literal["admin", "read", "ingest", "pixel"]
    sites: list[str] | None
    use: str | None
    created: Instant
    last_used: Instant | None
    valid_on: Literal["host", "all"]


class MadeToken(ListedToken):
    """`token`: the secret, which is shown this once."""

    token: str


class Tokens(Response):
    tokens: list[ListedToken]


class ListedShare(Response):
    """`embed`: hosts whose pages may frame it. `last_used`: on this host, to the
    minute; null where it is not known.
    """

    id: str
    site: str
    name: str
    created: Instant
    expires: Instant | None
    has_expired: bool
    has_password: bool
    embed: list[str]
    last_used: Instant | None


class MadeShare(ListedShare):
    """`secret`: shown this once. `path`, and `embed_path` where it may be framed: where
    the page is, from the address of this server.
    """

    secret: str
    path: str
    embed_path: str | UnsetType = UNSET


class Shares(Response):
    """`reason`: what of shares.json is not read."""

    shares: list[ListedShare]
    reason: str | UnsetType = UNSET


class ShareSession(Response):
    """`session`: what an embedded page sends; any other page has a cookie."""

    site: str
    name: str
    lifetime_s: Count
    session: str | UnsetType = UNSET


class KeptAnnotation(Response):
    """`site`: null for all."""

    id: str
    at: str
    text: str
    site: str | None


class Annotations(Response):
    """`reason`: what of annotations.json is not read."""

    annotations: list[KeptAnnotation]
    reason: str | UnsetType = UNSET


class FoldResponse(Response):
    """The snapshot that counts every event accepted before the request."""

    generation: Count
    as_of: Instant


class RetiredHost(Response):
    """A retired instance of the store."""

    instance: str
    host: str


class Erased(Response):
    """What was erased. `other_sites`, `mentions` (null for a short id) and `unreadable`
    are not, nor what the hosts in `retired` have published (null: unknown). A token of
    some sites gets null for these four.
    """

    request: str
    state: Literal["done"]
    generation: Count
    events: Count
    days: Count
    lines: Count
    segments: Count
    quarantined: Count
    other_sites: Count | None
    mentions: Count | None
    unreadable: list[str] | None
    retired: list[RetiredHost] | None


class ErasurePending(Response):
    """The erasure is requested; the next pass does it."""

    request: str
    state: Literal["pending"]


class Health(Response):
    status: Literal["ok"]


class Check(Response):
    name: str
    ok: bool
    detail: str


class Readiness(Response):
    """`ready` is true when every check is `ok`."""

    ready: bool
    checks: list[Check]
