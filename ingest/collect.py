"""POST /v1/events: the write half, top to bottom. request → gate → validate → append; the answer says what is on disk."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest import body, gate, lines
from ingest.gate import Basis, Sender
from ingest.refusal import Refusal
from ingest.service import Service
from ingest.stored import stored
from ingest.verdict import Accepted, Rejection, Verdicts, judge
from ingest.writer import Busy, DiskFull, Stopping, Unavailable


async def post_events(service: Service, request: BaseRequest) -> web.StreamResponse:
    """Store a batch of events and say which were taken. 200 means synced to disk (202 with FOLDLOG_DURABILITY=os)."""
    headers = request.headers
    settings = service.settings

    form, sender = gate.admit(headers, service.keyring.scopes(headers), settings)
    gate.check_disk(service.disk_free(), settings.disk_reserve)

    content = await read_body(request, sender.body_max_bytes)
    plain = body.inflate(content, form.encoding, sender.body_max_bytes)
    batch = body.decode(plain, form.media_type, settings.max_events)
    consent = gate.batch_consent(batch.consent, sender.consent)

    received_ms = service.now_ms()
    verdicts = judge(batch.events, received_ms, batch.sent_at)

    if verdicts.accepted and not is_dry_run(request):
        origin = about_sender(service, request, sender, consent, received_ms, verdicts.accepted)
        await append(service, lines.make_lines(verdicts.accepted, origin, received_ms), len(plain))

    return answer(request, verdicts, service.stored_status)


async def read_body(request: BaseRequest, max_bytes: int) -> bytes:
    """The whole body as sent. Raises Refusal 413 as soon as it is too long, 400 when the client sends none or breaks off."""
    if not request.can_read_body:
        raise Refusal(400, "malformed", "the request has no body")
    stream = request.content
    content = b""
    try:
        while not stream.is_eof():
            content += await stream.readany()
            if len(content) > max_bytes:
                raise Refusal(413, "too_large", f"the body may have {max_bytes} bytes")
        content += stream.read_nowait()  # most bodies arrive together with the head, and this is all
    except web.RequestPayloadError:
        raise Refusal(400, "malformed", "the body is not what its headers announce") from None
    if len(content) > max_bytes:
        raise Refusal(413, "too_large", f"the body may have {max_bytes} bytes")
    return content


def is_dry_run(request: BaseRequest) -> bool:
    """Whether the URL has `dry_run=1`."""
    return "?" in request.raw_path and request.query.get("dry_run") == "1"


def about_sender(
    service: Service, request: BaseRequest, sender: Sender, consent: Basis, received_ms: int, accepted: list[Accepted]
) -> lines.Origin:
    """What goes on each line of this request. The address is used for the visitor hash here and goes no further."""
    headers = request.headers
    ua = headers.get("User-Agent")
    visitor = None
    if any([event.visitor is None for event, _ in accepted]):
        address = gate.client_address(request.remote or "", headers, service.settings)
        visitor = service.visitor_hash(received_ms, sender.site, address, ua or "")
    return lines.Origin(
        site=sender.site,
        visitor=visitor,
        ua=gate.passed_on_agent(ua, keyed=sender.keyed),
        language=gate.language(headers.get("Accept-Language")),
        country=None,
        consent=consent,
    )


async def append(service: Service, made: list[lines.Line], size: int) -> None:
    """Wait until the lines are durable. Raises Refusal 503 or 507."""
    try:
        await service.writer.append(made, size)
    except DiskFull as error:
        raise Refusal(507, error.code, str(error), retry_after_s=gate.RETRY_AFTER_S) from None
    except (Busy, Stopping) as error:
        raise Refusal(503, error.code, str(error), retry_after_s=1) from None
    except Unavailable as error:
        raise Refusal(503, error.code, str(error), retry_after_s=gate.RETRY_AFTER_S) from None


def answer(request: BaseRequest, verdicts: Verdicts, stored_status: int) -> web.StreamResponse:
    """`{"accepted":n,"rejected":[…]}`: what is not listed was stored. 422 when nothing was."""
    if not verdicts.rejected:
        return stored(request, stored_status, len(verdicts.accepted))
    content = orjson.dumps({"accepted": len(verdicts.accepted), "rejected": [_shown(r) for r in verdicts.rejected]})
    status = stored_status if verdicts.accepted else 422
    return web.Response(status=status, body=content, content_type="application/json")


def _shown(rejection: Rejection) -> dict[str, Any]:
    shown = {"index": rejection.index, "code": rejection.code, "field": rejection.field, "detail": rejection.detail}
    return {name: value for name, value in shown.items() if value is not None}
