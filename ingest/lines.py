"""From accepted events to log lines. What needs the request (address, user agent, consent) is put on each line here (P11).

Requests make their lines one by one; the writer encodes those of a whole group together, which costs a third of it.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

import msgspec

from ingest.event import Property
from ingest.verdict import Accepted
from shared.line import SCHEMA_VERSION, seal_line
from shared.timestamps import rfc3339


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A log line before its CRC; the order of the fields is the order on disk (shared/line.py)."""

    v: int
    id: str
    name: str
    time: str
    received: str
    site: str
    visitor: str | None = None
    session: str | None = None
    url: str | None = None
    referrer: str | None = None
    ua: str | None = None
    language: str | None = None
    country: str | None = None
    consent: str | None = None
    value: float | int | None = None
    props: dict[str, Property] | None = None


class Origin(NamedTuple):
    """What a request says about all of its events. `visitor` stands in for events that name none."""

    site: str
    visitor: str | None
    ua: str | None
    language: str | None
    country: str | None
    consent: str


_ENCODER = msgspec.json.Encoder()
_RANDOM_BYTES = 10
# JSON escapes C0 itself; the newline between lines must stay. See verdict.HAZARD for what these are.
_HAZARD = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def make_lines(accepted: list[Accepted], origin: Origin, received_ms: int) -> list[Line]:
    """The log lines of a request, in order."""
    received = rfc3339(received_ms)
    made = server_ids(len(accepted), received_ms) if any([event.id is None for event, _ in accepted]) else []
    site, visitor, ua, language, country, consent = (
        origin.site, origin.visitor, origin.ua, origin.language, origin.country, origin.consent
    )  # fmt: skip
    return [
        Line(
            SCHEMA_VERSION, event.id or made[index], event.name, rfc3339(time_ms), received, site,
            event.visitor or visitor, event.session, event.url, event.referrer, ua, language, country, consent,
            event.value, event.props,
        )
        for index, (event, time_ms) in enumerate(accepted)
    ]  # fmt: skip


def seal(lines: list[Line]) -> bytes:
    """Encode lines, each with its CRC. Characters that a terminal would act on are escaped, so that a log can be tailed."""
    return b"".join([seal_line(line) for line in harmless_json(_ENCODER.encode_lines(lines)).splitlines()])


def harmless_json(encoded: bytes) -> bytes:
    """The same JSON, with what a terminal would act on written as escapes."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _HAZARD.sub(_escape, encoded.decode("utf-8")).encode("utf-8")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def server_ids(count: int, received_ms: int) -> list[str]:
    """New event ids: the time in front keeps them in order, which is what makes them small in the archive."""
    random = os.urandom(_RANDOM_BYTES * count).hex()
    width = 2 * _RANDOM_BYTES
    return [f"{received_ms:011x}{random[start : start + width]}" for start in range(0, width * count, width)]
