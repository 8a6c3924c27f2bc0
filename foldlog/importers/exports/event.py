"""What the readers of exports make: events as the writer of imports appends them, or
the reason why a row is none. Pure functions: values in, bytes out.

The id of an event is a hash of what the other tool knows it by, so that the same row of
a later export is the same event.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from foldlog.importers.exports.cells import URL_MAX, country_of, language_of, url_of
from foldlog.importers.outcome import (
    BEFORE_1970,
    BEYOND_TOMORROW,
    NO_VISITOR,
    NOT_UNDERSTOOD,
    OTHER_HOST,
)
from foldlog.importers.site_choice import SiteChoice
from ingest.collect.identity import identity_error, is_harmless
from shared.control_chars import escape_control_chars
from shared.timestamps import rfc3339

PAGE_VIEW = "pageview"
NAME_MAX = 120
ID_MAX = 100
PROP_MAX = 500
_BEFORE_ID = len(b'{"id":"')


class _Event(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The fields of a line behind `received`; docs/formats.md describes them."""

    id: str
    name: str
    time: str
    visitor: str
    daily: bool = False
    session: str = ""
    url: str = ""
    referrer: str = ""
    value: float | None = None
    props: dict[str, str] = {}
    site: str
    ua: str = ""
    language: str = ""
    country: str = ""
    consent: str
    sender: str


_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True)
class Rules:
    """`latest_ms`: times beyond it are refused; `zone` is that of times without one."""

    site: SiteChoice
    latest_ms: int
    zone: ZoneInfo


@dataclass(slots=True)
class Hit:
    """A row as its tool means it. `key` is what the tool knows it by; `host` empty
    where the row has none; `time_ms` None where it has no time that can be read.
    """

    key: tuple[str, ...]
    name: str
    time_ms: int | None
    visitor: str
    host: str = ""
    daily: bool = False
    session: str = ""
    url: str = ""
    path: str = ""
    referrer: str = ""
    value: float | None = None
    props: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""
    language: str = ""
    country: str = ""


class Row(NamedTuple):
    """A row of an export, on its line: what it means, or `why` it is none. `kind` is
    what its tool counts it as, `also` what else; `text` shows it to people.
    """

    line: int
    hit: Hit | None
    why: int = 0
    kind: str = "rows"
    text: str = ""
    also: str = ""


class Made(NamedTuple):
    """An event (its id of 32 characters and the JSON that follows it), or `why` it is
    none.
    """

    event: bytes
    why: int = 0


def made(hit: Hit, rules: Rules) -> Made:
    """The event of a row, or why it is none."""
    site = rules.site.of(hit.host)
    why = _why_none(hit, site, rules)
    if why or hit.time_ms is None or site is None:
        return Made(b"", why)
    event = _Event(
        id=hashlib.sha256(msgspec.json.encode(hit.key)).hexdigest()[:32],
        name=hit.name,
        time=rfc3339(hit.time_ms),
        visitor=hit.visitor,
        daily=hit.daily,
        session=hit.session if is_identity(hit.session) else "",
        url=hit.url or (url_of(site, hit.path) if hit.path else ""),
        referrer=hit.referrer[:URL_MAX],
        value=hit.value,
        props={name: text[:PROP_MAX].replace("\0", "") for name, text in hit.props.items() if text},
        site=site,
        ua=hit.agent[:URL_MAX].replace("\0", ""),
        language=language_of(hit.language),
        country=country_of(hit.country),
        consent="imported",
        sender="import",
    )
    return Made(escape_control_chars(_ENCODER.encode(event))[_BEFORE_ID:-1])


def _why_none(hit: Hit, site: str | None, rules: Rules) -> int:
    if hit.time_ms is None or not 1 <= len(hit.name) <= NAME_MAX or not is_harmless(hit.name):
        return NOT_UNDERSTOOD
    if hit.value is not None and not math.isfinite(hit.value):
        return NOT_UNDERSTOOD
    if hit.time_ms < 0:
        return BEFORE_1970
    if hit.time_ms > rules.latest_ms:
        return BEYOND_TOMORROW
    if not is_identity(hit.visitor):
        return NO_VISITOR
    return 0 if site is not None else OTHER_HOST


def is_identity(text: str) -> bool:
    """Whether it is an id of a visitor or session, and no placeholder for one."""
    return 1 <= len(text) <= ID_MAX and identity_error("visitor", text) is None
