"""Schemas of the answers to questions, for ingest/http/openapi_document.py."""

from __future__ import annotations

from datetime import date
from typing import Literal

from msgspec import UNSET, UnsetType

from ingest.http.response_schemas import Count, Instant, Response
from reports.calendar import Interval
from reports.compare import Compare


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


class Counted(Response, kw_only=True):
    """What an answer was counted from. `hosts`: only over all hosts of the store."""

    generation: Count
    as_of: Instant
    hosts: list[Host] | UnsetType = UNSET


class OfTime(Counted, kw_only=True, rename={"from_": "from"}):
    """Of a time: `from` and `to` are the requested half-open span."""

    from_: Instant
    to: Instant
    tz: str


class Compared(OfTime, kw_only=True):
    """With the earlier time where it was asked for."""

    compare: Compare | UnsetType = UNSET
    previous_from: Instant | UnsetType = UNSET
    previous_to: Instant | UnsetType = UNSET


class Report(Compared):
    """`from` and `to` are the requested half-open span; `reason` says why a number is
    null. `hosts`: only over all hosts of the store. `compare` and the earlier time:
    where it was asked for.
    """

    interval: Interval
    by: str | None
    rows: list[Row]
    total: Total
    reason: str | UnsetType = UNSET


class BatchProblem(Response):
    """Why a report cannot be asked for, as the report alone would say it."""

    status: Literal[400]
    code: Literal["query"]
    detail: str


class BatchReport(Response):
    """As the report would be alone, or its `problem` and nothing else."""

    problem: BatchProblem | UnsetType = UNSET
    interval: Interval | UnsetType = UNSET
    by: str | UnsetType | None = UNSET
    rows: list[Row] | UnsetType = UNSET
    total: Total | UnsetType = UNSET
    compare: Compare | UnsetType = UNSET
    previous_from: Instant | UnsetType = UNSET
    previous_to: Instant | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class ReportBatch(OfTime):
    """In the order in which they were asked for. The rest as in a report."""

    kind: Literal["batch"]
    reports: list[BatchReport]


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


class Live(Counted):
    """`at`: when the last pass looked. The minutes before that are counted."""

    kind: Literal["live"]
    at: Instant
    minutes: list[Count]
    rows: list[LiveRow]
    total: LiveNumbers


class Cohort(Response):
    """`returned`: how many of the visitors came in each later period, in order."""

    time: Instant
    visitors: Count
    returned: list[Count]


class CohortsTotal(Response):
    """`daily_visitors` are left out: each is the hash of a day. Null where unknown."""

    visitors: Count | None
    daily_visitors: Count | None


class Cohorts(OfTime):
    """`archive_since`: a visitor of before that day counts as new; null without
    events. `reason` says why numbers are null.
    """

    kind: Literal["cohorts"]
    period: Literal["day", "week", "month"]
    archive_since: date | None
    rows: list[Cohort]
    total: CohortsTotal
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


class Funnel(OfTime):
    """`rows`: the steps, or with `by` those of each value. `reason`: why numbers are
    null.
    """

    kind: Literal["funnel"]
    window: str
    by: str | None
    steps: list[FunnelStep]
    rows: list[FunnelRow]
    total: FunnelTotal
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


class Paths(OfTime):
    """`rows`: by position, then by moves. `reason`: why numbers are null."""

    kind: Literal["paths"]
    by: Literal["path", "event"]
    at: str
    rows: list[PathsRow]
    total: PathsTotal
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


class GoalsReport(OfTime):
    """`goals`: each of the whole time; `rows`: the same, or each in each interval."""

    kind: Literal["goals"]
    interval: Interval
    goals: list[GoalConversions]
    rows: list[ConversionsRow]
    total: Total
    reason: str | UnsetType = UNSET
