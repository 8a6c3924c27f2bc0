"""POST /v1/events, top to bottom: admission → adapter.decode → validate → encode →
rate limit → append → adapter.answer. The answer is sent once the accepted events are on
disk.

Origin, consent, limits and durability stay in `post_events`: an adapter cannot weaken
them. Another door than that of a POST (pixel.py) says who sends, and where the body is;
all that follows is the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

from aiohttp import web
from aiohttp.web_request import BaseRequest
from msgspec.structs import replace
from multidict import CIMultiDict

from ingest.collect import admission, body, encode, native, on_behalf
from ingest.collect.adapter import Adapter
from ingest.collect.admission import BodyFormat, Headers, Sender
from ingest.collect.consent import ConsentBasis, resolve_consent
from ingest.collect.country import NOWHERE
from ingest.collect.event import VisitorBehind
from ingest.collect.validate import Accepted, validate_batch
from ingest.collect.visitor_id import DailyVisitor
from ingest.context import WorkerContext
from ingest.http.auth import scopes_of
from ingest.http.body_reader import read_body
from ingest.http.client_address import Client
from ingest.http.problem import Problem
from ingest.wal.unavailable import Busy, DiskFull, Stopping, Unavailable


class Door(NamedTuple):
    """How a request comes in: `admit` decides from its head who sends, before anything
    is counted; `read` returns its body.
    """

    admit: Callable[[WorkerContext, BaseRequest, Client], Awaitable[tuple[BodyFormat, Sender]]]
    read: Callable[[WorkerContext, BaseRequest, Sender], Awaitable[bytes]]


async def _admit(worker: WorkerContext, request: BaseRequest, client: Client) -> tuple[BodyFormat, Sender]:
    return admission.admit(request.headers, client.host, await scopes_of(worker, request), worker.settings)


async def _read(worker: WorkerContext, request: BaseRequest, sender: Sender) -> bytes:
    return await read_body(request, sender.body_max_bytes, worker.body_budget)


POST = Door(_admit, _read)


async def post_events(
    worker: WorkerContext, request: BaseRequest, adapter: Adapter = native, door: Door = POST
) -> web.StreamResponse:
    """Store a batch of events. 200: synced to disk (202 with FOLDLOG_DURABILITY=os)."""
    headers, settings = request.headers, worker.settings
    client = worker.proxies.identify(request.remote or "", headers)
    body_format, sender = await door.admit(worker, request, client)
    if not sender.keyed:
        worker.own_traffic.check(client.address)
    await worker.count_request(client.address, headers, keyed=sender.keyed)
    admission.check_disk(worker.disk_free_bytes(), settings.disk_reserve)
    admission.check_queue(worker.commit_queue.is_full())

    content = await door.read(worker, request, sender)
    plain = body.inflate(content, body_format.encoding, sender.body_max_bytes)
    size, dry_run, lines = len(content), is_dry_run(request), b""
    async with _Cost(worker, client, sender, len(plain)) as cost:
        batch = adapter.decode(plain, body_format.media_type, settings.max_events)
        cost.events = len(batch.events)
        admission.check_count(cost.events, settings.max_events)
        consent, received_ms = resolve_consent(batch.consent, sender.consent), worker.now_ms()
        validated = validate_batch(batch.events, received_ms, batch.sent_at, batch.columns, batch.adjusted)
        validated = on_behalf.check(validated, batch.site, sender, settings.sites, worker.own_traffic)
        outcome = validated.outcome()
        seen = worker.arrivals.of_batch(validated, sender.site, dry_run=dry_run)
        if outcome.accepted and not dry_run:
            lines = encode_lines(worker, request, client, sender, consent, validated.accepted, received_ms, len(plain))
            cost.log_bytes = len(lines)
    if lines:
        del content, plain, batch, validated  # only the lines wait for the disk: other requests reuse this memory
        await append(worker, lines, outcome.accepted)

    worker.record_request(size, outcome, seen, dry_run=dry_run)
    cors = admission.cors(headers, settings) if sender.cross_origin else {}
    return adapter.answer(request, outcome, worker.success_status if outcome.accepted else 422, cors)


class _Cost:
    """What a request without a key has cost counts when the block ends, before anything
    is stored: also what is refused or becomes no log, as it has cost as much. Raises
    Problem 429, or 413.
    """

    def __init__(self, worker: WorkerContext, client: Client, sender: Sender, body_bytes: int) -> None:
        self._worker, self._address, self._keyed, self._body_bytes = worker, client.address, sender.keyed, body_bytes
        self.events, self.log_bytes = 1, 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            most = max(self.log_bytes, self._body_bytes)
            await self._worker.count_events(self._address, self.events, most, keyed=self._keyed)
        elif isinstance(error, Problem):
            await self._worker.count_refused(self._address, self.events, self._body_bytes, keyed=self._keyed)


async def preflight_events(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """OPTIONS /v1/events: a browser asks whether a page of another host may send
    events. Raises Problem 403 unless its site is configured.
    """
    return web.Response(status=204, headers=admission.preflight(request.headers, worker.settings))


def is_dry_run(request: BaseRequest) -> bool:
    """Whether the URL has `dry_run=1`, spelled like this: thousands of parameters cost
    no more than their bytes.
    """
    return "dry_run=1" in request.raw_path.partition("?")[2].split("&")


def encode_lines(
    worker: WorkerContext,
    request: BaseRequest,
    client: Client,
    sender: Sender,
    consent: ConsentBasis,
    accepted: list[Accepted],
    received_ms: int,
    body_bytes: int,
) -> bytes:
    """The lines of a request. What its head says holds for all events for which a
    server says nothing else.
    """
    lines = b""
    for said, events in on_behalf.by_context(accepted, sender.site):
        headers: Headers = request.headers
        place, behind = client, said.client
        if behind is not None:
            headers, place = _headers_of(behind), Client(behind.address, client.host, through_proxy=False)
        keyed = sender.keyed and behind is None
        fields = request_fields(worker, headers, place, said.site, consent, keyed=keyed)
        visitor = visitor_of(worker, headers, place, said.site, events, received_ms)
        if sender.keyed:
            fields = replace(fields, sender="key")
        lines += encode.encode_events(events, fields, visitor, received_ms, body_bytes)
    return lines


def _headers_of(behind: VisitorBehind) -> Headers:
    given = {"User-Agent": behind.user_agent, "Accept-Language": behind.language}
    return CIMultiDict({name: text for name, text in given.items() if text is not None})


def request_fields(
    worker: WorkerContext, headers: Headers, client: Client, site: str, consent: ConsentBasis, *, keyed: bool
) -> encode.RequestFields:
    """The fields that lines of a request share; `keyed`: those of a server itself. The
    address is used for country, region and city only, and is not stored (P11).
    """
    agent = admission.visitor_user_agent(headers.get("User-Agent"), keyed=keyed)
    is_server = keyed and agent is None  # so its language is no visitor's
    place = worker.place_of(client, headers) if worker.has_country_source and not keyed else NOWHERE
    return encode.RequestFields(
        site=site,
        ua=agent,
        language=None if is_server else admission.language(headers.get("Accept-Language")),
        country=place.country,
        consent=consent,
        region=place.region,
        city=place.city,
    )


def visitor_of(
    worker: WorkerContext, headers: Headers, client: Client, site: str, accepted: list[Accepted], received_ms: int
) -> DailyVisitor | None:
    """The hash for events without a visitor id; None when all have one. The address is
    used for the hash only, and is not stored (P11).
    """
    if all([event.visitor for event, _ in accepted]):
        return None
    return worker.visitor_hash(received_ms, site, client.address, headers.get("User-Agent") or "")


async def append(worker: WorkerContext, lines: bytes, count: int) -> None:
    """Wait until the lines are durable. Raises Problem 503 or 507."""
    try:
        await worker.commit_queue.append(lines, count)
    except DiskFull as error:
        raise Problem(507, error.code, str(error), retry_after_s=admission.RETRY_AFTER_S) from None
    except (Busy, Stopping) as error:
        raise Problem(503, error.code, str(error), retry_after_s=1) from None
    except Unavailable as error:
        raise Problem(503, error.code, str(error), retry_after_s=admission.RETRY_AFTER_S) from None
