"""Events as segments of the log, sealed as a writer seals them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

from foldlog.demo.quarter import Event
from ingest.collect.encode import Line, encode_lines
from shared.disk.durable import publish, publishing
from shared.disk.layout import DataDirectory, SegmentName
from shared.segments.line import SCHEMA_VERSION
from shared.segments.recovery import current_second
from shared.segments.sealed import sha256_line
from shared.timestamps import rfc3339

WRITER = "demo"
# How long an event was on its way.
LATENCY_MS = (30, 900)


def line_of(event: Event, now_ms: int, chance: random.Random) -> Line:
    """An event as it stands in the log."""
    person, step = event.person, event.step
    query = f"?{event.arrival.query}" if event.arrival and event.arrival.query else ""
    return Line(
        v=SCHEMA_VERSION,
        received=rfc3339(min(now_ms, event.time_ms + chance.randint(*LATENCY_MS))),
        site=event.site,
        ua=person.agent,
        language=person.language,
        country=person.country,
        consent="granted",
        id=f"{chance.getrandbits(96):024x}",
        name=step.name,
        time=rfc3339(event.time_ms),
        visitor=event.visitor,
        daily=event.daily or None,
        url=f"http://{event.site}{step.path}{query}",
        referrer=event.arrival.referrer if event.arrival else None,
        value=step.value,
        props=dict(step.props) if step.props else None,
    )


def write_segment(data: DataDirectory, sequence: int, lines: Iterable[Line]) -> None:
    """Seal one segment with these lines."""
    content = encode_lines([*lines])
    name = SegmentName(WRITER, sequence, current_second())
    with publishing(data.log / name.file) as beside:
        beside.write_bytes(content)
        publish(data.log / name.checksum, sha256_line(hashlib.sha256(content).hexdigest(), name.file))
