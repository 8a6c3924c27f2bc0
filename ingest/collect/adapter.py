"""What an API for events consists of: how a body becomes a batch, and how the outcome
becomes an answer.

All that protects visitors and the operator stays in `post_events` (handler.py): origin,
keys, consent, limits, validation and durability. An adapter is called between those
steps and cannot skip one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.collect.adjust import Adjustment
from ingest.collect.event import Columns, Event
from ingest.collect.validate import BatchOutcome, Rejection


class DecodedBatch(NamedTuple):
    """A batch: its events in order, each decoded or already rejected.

    `columns`: the events field by field, where there are many and all their text is
    printable ASCII. `adjusted`: what was left out of events so that they
    decode. `site`: of the events that name none.
    """

    events: list[Event] | list[Event | Rejection]
    sent_at: datetime | int | None = None
    consent: str | None = None
    columns: Columns | None = None
    has_rejections: bool = False
    adjusted: Sequence[Adjustment] = ()
    site: str | None = None


class Adapter(Protocol):
    """One API for events. A module with these two functions is one."""

    def decode(self, body: bytes, media_type: str, max_events: int) -> DecodedBatch:
        """Decode a body that was inflated already. Raises Problem.

        Events must come from a decoder of event.Event, whose types hold the limits of
        each field. `max_events` is to stop early; the caller checks it again.
        """
        ...

    def answer(
        self, request: BaseRequest, outcome: BatchOutcome, status: int, cors: dict[str, str]
    ) -> web.StreamResponse:
        """The response once the accepted events are durable. `status` is 200, 202 or
        422.
        """
        ...
