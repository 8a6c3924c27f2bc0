"""POST /v1/events: the write half, top to bottom. request → gate → validate → append;
the answer says what is on disk.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.collect import admission, body, encode
from ingest.collect.admission import ConsentBasis, Headers, Sender
from ingest.collect.fast_response import stored
from ingest.collect.validate import Accepted, BatchOutcome, Rejection, validate_batch
from ingest.context import WorkerContext
from ingest.http.body_reader import read_body
from ingest.http.client_address import Client
from ingest.http.problem import Problem
from ingest.wal.unavailable import Busy, DiskFull, Stopping, Unavailable


async def post_events(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """Store a batch of events and say which were taken. 200 means synced to disk (202
    with FOLDLOG_DURABILITY=os).
    """
    headers = request.headers
    settings = worker.settings

    client = worker.proxies.identify(request.remote or "", headers)
    form, sender = admission.admit(headers, client.host, worker.keyring.scopes(headers), settings)
    if not sender.keyed:
        worker.check_rate_limit(client.address)
    admission.check_disk(worker.disk_free_bytes(), settings.disk_reserve)
    admission.check_queue(worker.commit_queue.is_full())

    content = await read_body(request, sender.body_max_bytes, worker.body_budget)
    plain = body.inflate(content, form.encoding, sender.body_max_bytes)
    batch = body.decode(plain, form.media_type, settings.max_events)
    consent = admission.resolve_consent(batch.consent, sender.consent)

    received_ms = worker.now_ms()
    validated = validate_batch(batch.events, received_ms, batch.sent_at, batch.columns)
    outcome, size, dry_run = validated.outcome(), len(content), is_dry_run(request)

    if outcome.accepted and not dry_run:
        origin = origin_of(worker, headers, client, sender, consent)
        visitor = visitor_of(worker, headers, client, sender, validated.accepted, received_ms)
        sealed = encode.encode_events(validated.accepted, origin, visitor, received_ms)
        del (
            content,
            plain,
            batch,
            validated,
        )  # what waits for the disk are the lines; the next request reuses this memory
        await append(worker, sealed, outcome.accepted)

    worker.record_request(size, outcome, dry_run=dry_run)
    return answer(
        request, outcome, worker.success_status, admission.cors(headers, settings) if sender.cross_origin else None
    )


async def preflight_events(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """OPTIONS /v1/events: the browser of a configured site asks whether its page may
    send. Raises Problem 403 for any other.
    """
    return web.Response(status=204, headers=admission.preflight(request.headers, worker.settings))


def is_dry_run(request: BaseRequest) -> bool:
    """Whether the URL has `dry_run=1`."""
    return "?" in request.raw_path and request.query.get("dry_run") == "1"


def origin_of(
    worker: WorkerContext, headers: Headers, client: Client, sender: Sender, consent: ConsentBasis
) -> encode.RequestFields:
    """What goes on each line of this request. The address is used for the country, and
    goes no further.
    """
    agent = admission.visitor_user_agent(headers.get("User-Agent"), keyed=sender.keyed)
    is_server = sender.keyed and agent is None  # its language and country are nobody's
    return encode.RequestFields(
        site=sender.site,
        ua=agent,
        language=None if is_server else admission.language(headers.get("Accept-Language")),
        country=worker.country_of(client, headers) if worker.has_country_source and not sender.keyed else None,
        consent=consent,
    )


def visitor_of(
    worker: WorkerContext, headers: Headers, client: Client, sender: Sender, accepted: list[Accepted], received_ms: int
) -> str | None:
    """The hash that stands in for visitors that events do not name. The address is used
    for it, and goes no further.
    """
    if all([event.visitor for event, _ in accepted]):
        return None
    return worker.visitor_hash(received_ms, sender.site, client.address, headers.get("User-Agent") or "")


async def append(worker: WorkerContext, sealed: bytes, count: int) -> None:
    """Wait until the lines are durable. Raises Problem 503 or 507."""
    try:
        await worker.commit_queue.append(sealed, count)
    except DiskFull as error:
        raise Problem(507, error.code, str(error), retry_after_s=admission.RETRY_AFTER_S) from None
    except (Busy, Stopping) as error:
        raise Problem(503, error.code, str(error), retry_after_s=1) from None
    except Unavailable as error:
        raise Problem(503, error.code, str(error), retry_after_s=admission.RETRY_AFTER_S) from None


def answer(
    request: BaseRequest, outcome: BatchOutcome, stored_status: int, cors: dict[str, str] | None
) -> web.StreamResponse:
    """`{"accepted":n,"rejected":[…]}`: what is not listed was stored. 422 when nothing
    was.
    """
    if not outcome.rejected and not cors:
        return stored(request, stored_status, outcome.accepted)
    content = orjson.dumps({"accepted": outcome.accepted, "rejected": [_shown(r) for r in outcome.rejected]})
    status = stored_status if outcome.accepted else 422
    return web.Response(status=status, body=content, content_type="application/json", headers=cors)


def _shown(rejection: Rejection) -> dict[str, Any]:
    shown = {"index": rejection.index, "code": rejection.code, "field": rejection.field, "detail": rejection.detail}
    return {name: value for name, value in shown.items() if value is not None}
