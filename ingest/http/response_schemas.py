"""Schemas of the HTTP responses, for ingest/http/openapi_document.py. That of the
status is in shared/status.py.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from reports.calendar import Interval
from reports.compare import Compare

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


class Rates(Response):
    """The measures that need not be whole numbers."""

    views_per_visit: float | UnsetType | None = UNSET
    bounce_rate: float | UnsetType | None = UNSET
    visit_duration: float | UnsetType | None = UNSET
    value_sum: float | UnsetType | None = UNSET
    value_avg: float | UnsetType | None = UNSET
    value_p50: float | UnsetType | None = UNSET
    value_p95: float | UnsetType | None = UNSET
    engaged_time: float | UnsetType | None = UNSET
    engaged_p50: float | UnsetType | None = UNSET


class Numbers(Rates):
    """All measures: those that were asked for, null where one is no longer known."""

    events: Count | UnsetType | None = UNSET
    visitors: Count | UnsetType | None = UNSET
    visits: Count | UnsetType | None = UNSET


class Previous(Numbers):
    """The numbers of the earlier time; null where a row has no counterpart there."""

    time: Instant | UnsetType | None = UNSET


class Change(Rates):
    """How much larger a number is, as a part of the earlier one; null where that is 0
    or unknown.
    """

    events: float | UnsetType | None = UNSET
    visitors: float | UnsetType | None = UNSET
    visits: float | UnsetType | None = UNSET


class Row(Numbers):
    """`time` is present with `interval`, `value` with `by`; numbers are those of
    `measures`, null where one is no longer known. `previous` and `change`: with
    `compare`.
    """

    events: Count | UnsetType = UNSET
    time: Instant | UnsetType = UNSET
    value: str | UnsetType | None = UNSET
    previous: Previous | UnsetType = UNSET
    change: Change | UnsetType = UNSET


class Total(Numbers):
    """Totals of the whole query, including rows beyond `limit`; null where unknown.
    `previous` and `change`: with `compare`.
    """

    previous: Previous | UnsetType = UNSET
    change: Change | UnsetType = UNSET


class Host(Response):
    """A host of the store. `as_of` is null where it has published nothing, `instance`
    before its first publish. `behind`: its events of the last minutes are missing.
    `own_salt_days`: its visitors without an id of these days cannot be compared with
    those of other hosts.
    """

    instance: str | None
    host: str
    generation: Count
    as_of: Instant | None
    behind: bool
    retired: bool
    own_salt_days: list[date]


class Report(Response, rename={"from_": "from"}):
    """`from` and `to` are the requested half-open span; `reason` says why a number is
    null. `hosts`: only over all hosts of the store. `compare` and the earlier time:
    where it was asked for.
    """

    from_: Instant
    to: Instant
    tz: str
    interval: Interval
    by: str | None
    rows: list[Row]
    total: Total
    generation: Count
    as_of: Instant
    compare: Compare | UnsetType = UNSET
    previous_from: Instant | UnsetType = UNSET
    previous_to: Instant | UnsetType = UNSET
    hosts: list[Host] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


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


class Breakdown(Response):
    """As the report by this dimension alone."""

    by: str
    rows: list[Row]
    total: Total
    reason: str | UnsetType = UNSET


class Breakdowns(Response, rename={"from_": "from"}):
    """In the order in which they were asked for. The rest as in a report."""

    kind: Literal["breakdowns"]
    breakdowns: list[Breakdown]
    from_: Instant
    to: Instant
    tz: str
    generation: Count
    as_of: Instant
    compare: Compare | UnsetType = UNSET
    previous_from: Instant | UnsetType = UNSET
    previous_to: Instant | UnsetType = UNSET
    hosts: list[Host] | UnsetType = UNSET


class LiveNumbers(Response):
    """Of the last 5 and of the last 30 minutes before `at`."""

    events_5: Count
    visitors_5: Count
    events_30: Count
    visitors_30: Count


class LiveRow(LiveNumbers):
    """A site, path or source; `value` is null for events without one."""

    by: Literal["site", "path", "source"]
    value: str | None


class Live(Response):
    """`at`: when the last pass looked. The minutes before that are counted."""

    kind: Literal["live"]
    at: Instant
    minutes: list[Count]
    rows: list[LiveRow]
    total: LiveNumbers
    generation: Count
    as_of: Instant
    hosts: list[Host] | UnsetType = UNSET


class Cohort(Response):
    """`returned`: how many of the visitors came in each later period, in order."""

    time: Instant
    visitors: Count
    returned: list[Count]


class CohortsTotal(Response):
    """`daily_visitors` are left out: each is the hash of a day. Null where unknown."""

    visitors: Count | None
    daily_visitors: Count | None


class Cohorts(Response, rename={"from_": "from"}):
    """`archive_since`: a visitor of before that day counts as new; null without
    events. `reason` says why numbers are null.
    """

    kind: Literal["cohorts"]
    from_: Instant
    to: Instant
    tz: str
    period: Literal["day", "week", "month"]
    archive_since: date | None
    rows: list[Cohort]
    total: CohortsTotal
    generation: Count
    as_of: Instant
    hosts: list[Host] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class FunnelNumbers(Response):
    """Visitors who reached a step, their shares of those of the first step and of the
    step before, and medians of the seconds from these; null where there are none.
    """

    step: Count
    visitors: Count | None
    conversion: float | None
    step_conversion: float | None
    median_s: float | None
    median_from_first_s: float | None


class FunnelStep(FunnelNumbers):
    """A step of all visitors."""

    filter: str


class FunnelRow(FunnelNumbers):
    """`filter` is present without `by`, `value` with it. `others`: how many values
    beyond the limit are together in this row.
    """

    filter: str | UnsetType = UNSET
    value: str | UnsetType | None = UNSET
    others: Count | UnsetType = UNSET


class FunnelTotal(Response):
    """Visitors who took the first step, those who took all, and how many of the first
    are hashes of a day, which cannot be followed past midnight.
    """

    visitors: Count | None
    converted: Count | None
    daily_visitors: Count | None


class Funnel(Response, rename={"from_": "from"}):
    """`rows`: the steps, or with `by` those of each value. `reason`: why numbers are
    null.
    """

    kind: Literal["funnel"]
    from_: Instant
    to: Instant
    tz: str
    window: str
    by: str | None
    steps: list[FunnelStep]
    rows: list[FunnelRow]
    total: FunnelTotal
    generation: Count
    as_of: Instant
    hosts: list[Host] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class PathsRow(Response):
    """A stay one or two steps after (`position` 1, 2) or before (-1, -2), which is null
    where the visit begins or ends there; `via`: the one between, of a second step.
    `others`: how many of the position beyond the limit are together in this row.
    """

    position: Literal[-2, -1, 1, 2]
    value: str | None
    moves: Count
    visitors: Count
    via: str | UnsetType | None = UNSET
    others: Count | UnsetType = UNSET


class PathsTotal(Response):
    """Stays at the page, and visitors who had one; null where unknown."""

    stays: Count | None
    visitors: Count | None


class Paths(Response, rename={"from_": "from"}):
    """`rows`: by position, then by moves. `reason`: why numbers are null."""

    kind: Literal["paths"]
    from_: Instant
    to: Instant
    tz: str
    by: Literal["path", "event"]
    at: str
    rows: list[PathsRow]
    total: PathsTotal
    generation: Count
    as_of: Instant
    hosts: list[Host] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Conversions(Response):
    """Events of a goal, visitors who had one, of all visitors, their share, and the sum
    of values; null where its filter is invalid.
    """

    goal: str
    events: Count | None
    visitors: Count | None
    all_visitors: Count
    rate: float | None
    value_sum: float | None


class ConversionsRow(Conversions):
    """`time` is present with `interval`."""

    time: Instant | UnsetType = UNSET


class GoalConversions(Conversions):
    """A goal, and its conversions in the whole time."""

    filter: str
    value: float | None
    reason: str | UnsetType = UNSET


class GoalsReport(Response, rename={"from_": "from"}):
    """`goals`: each of the whole time; `rows`: the same, or each in each interval."""

    kind: Literal["goals"]
    from_: Instant
    to: Instant
    tz: str
    interval: Interval
    goals: list[GoalConversions]
    rows: list[ConversionsRow]
    total: Total
    generation: Count
    as_of: Instant
    hosts: list[Host] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


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
