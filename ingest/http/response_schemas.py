"""What each answer of the HTTP interface looks like: types that are only described, by
ingest/http/openapi.py.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from reports.query import Interval

Count = Annotated[int, Meta(ge=0)]
Instant = Annotated[datetime, Meta(tz=True)]


class Answer(Struct, forbid_unknown_fields=True):
    """A type of which nothing is ever made: it says what an answer looks like."""


class Rejected(Answer):
    """Why one event was not taken. `code` is stable, `detail` is for people; without
    `field` it is the event as a whole.
    """

    index: Count
    code: str
    detail: str
    field: str | UnsetType = UNSET


class Stored(Answer):
    """What is not listed under `rejected` was stored."""

    accepted: Count
    rejected: list[Rejected]


class Problem(Answer):
    """RFC 9457. `code` is stable, `detail` is for people."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str


class Row(Answer):
    """`time` is there with `interval`, `value` with `by`. `visitors` is null where the
    number can no longer be known.

    It is not there with `visitors=none`.
    """

    events: Count
    visitors: Count | UnsetType | None = UNSET
    time: Instant | UnsetType = UNSET
    value: str | UnsetType | None = UNSET


class Total(Answer):
    """Of the whole question, also of rows beyond `limit`; null where the number can no
    longer be known.
    """

    events: Count | None
    visitors: Count | UnsetType | None = UNSET


class Report(Answer, rename={"from_": "from"}):
    """`from` and `to` are what was asked for, half open. `reason` says why a number is
    null.
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
    reason: str | UnsetType = UNSET


class Balance(Answer):
    """P8: accepted = counted + duplicates + quarantined + erased + not_yet_folded;
    `difference` is what is left over.
    """

    accepted: Count
    counted: Count
    duplicates: Count
    quarantined: Count
    erased: Count
    not_yet_folded: Count
    difference: int
    conflicts: Count


class Segments(Answer):
    """`active` are bytes per writer, `missing` sequence numbers per writer."""

    active: dict[str, Count]
    sealed_unfolded: Count
    missing: dict[str, list[int]]
    damaged: Count


class LastFold(Answer):
    segments: Count
    lines: Count
    seconds: float


class Held(Answer):
    """What retention would delete of a kind, once somebody says so: `days` of
    `kept_days`.
    """

    days: Count
    kept_days: Count
    bytes: Count
    first: date
    last: date


class LastRetention(Answer):
    """`skipped` says why nothing was deleted. `held` and `over_limit` (bytes) are by
    kind: log, archive, counters.
    """

    at: Instant
    segments: Count
    archive_days: Count
    counter_days: Count
    skipped: str | None
    last_success: Instant
    held: dict[str, Held]
    over_limit: dict[str, Count]


class Disk(Answer):
    free_bytes: Count
    reserve_bytes: Count
    log_bytes: Count
    archive_bytes: Count
    counters_bytes: Count


class Days(Answer):
    """The first and the last UTC day of the snapshot."""

    first: date
    last: date


class Status(Answer):
    balance: Balance
    segments: Segments
    generation: Count
    as_of: Instant
    lag_s: float | None
    last_fold: LastFold
    last_retention: LastRetention
    disk: Disk
    erasures_pending: Count
    warnings: list[str]
    days: Days | None


class Folded(Answer):
    """The snapshot that holds every event accepted before."""

    generation: Count
    as_of: Instant


class Erased(Answer):
    """What held the visitor. `other_sites`, `mentions` (null for a short id) and
    `unreadable` stay.
    """

    request: str
    state: Literal["done"]
    generation: Count
    events: Count
    days: Count
    lines: Count
    segments: Count
    quarantined: Count
    other_sites: Count
    mentions: Count | None
    unreadable: list[str]


class ErasurePending(Answer):
    """It is asked for, and will be done by the next pass."""

    request: str
    state: Literal["pending"]


class Health(Answer):
    status: Literal["ok"]


class Check(Answer):
    name: str
    ok: bool
    detail: str


class Readiness(Answer):
    """`ready` when every check is."""

    ready: bool
    checks: list[Check]
