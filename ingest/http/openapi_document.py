"""The OpenAPI document of the HTTP API, generated from the types that validate, so that
the two cannot disagree.

Requests come from ingest/collect/event.py and reports/query.py, responses from
response_schemas.py and the snapshot. tests/ingest/http/test_openapi.py compares the
document with the routes and with real responses. The dashboard's files are not part of
it.
"""

from __future__ import annotations

from importlib.metadata import version

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from ingest.api.visitors import ID_MAX_CHARS
from ingest.collect.body import ENCODINGS, JSON, NDJSON
from ingest.collect.body import TEXT as TEXT_PLAIN
from ingest.collect.event import Batch, Event
from ingest.http.openapi_kinds import KIND_PATHS, KIND_TYPES
from ingest.http.openapi_management import MANAGEMENT_PATHS, MANAGEMENT_TYPES, SHARE
from ingest.http.openapi_parameters import RAW, SCOPE, SPAN, named, report_parameters
from ingest.http.openapi_parts import (
    READ_PROBLEMS,
    READER_PROBLEMS,
    RETRY_AFTER,
    TEXT,
    TOKEN_PROBLEMS,
    Object,
    header,
    media_types,
    operation,
    parameter,
    ref,
    response,
)
from ingest.http.report_schemas import (
    Report,
)
from ingest.http.response_schemas import (
    Erased,
    ErasurePending,
    FoldResponse,
    Health,
    Problem,
    Readiness,
    Stored,
    VisitorEvents,
)
from reports import encode
from shared.generations.snapshot import Snapshot
from shared.generations.summary import Summary
from shared.host_names import SITE
from shared.pixel_keys import KEY_MAX_CHARS, PIXEL
from shared.status import Freshness, Status

TYPES = (
    Batch,
    Event,
    Stored,
    Problem,
    Report,
    Status,
    Freshness,
    Snapshot,
    Summary,
    FoldResponse,
    Erased,
    ErasurePending,
    VisitorEvents,
    Health,
    Readiness,
    *KIND_TYPES,
    *MANAGEMENT_TYPES,
)
_WRITE_PROBLEMS = (
    *("malformed", "key", "scope", "origin", "prerender", "consent", "excluded_network", "too_large"),
    *("too_many_events", "media_type", "content_encoding", "batch_invalid", "batch_empty", "too_deep", "rate_limit"),
    *("guesses", "busy", "unavailable", "disk_reserve", "disk_full"),
)
_PIXEL_PROBLEMS = (
    *("query", "pixel", "origin", "prerender", "consent", "excluded_network"),
    *("rate_limit", "busy", "unavailable", "disk_reserve", "disk_full"),
)
GIF: Object = {"image/gif": {}}
_ETAG = {"ETag": header("For If-None-Match.", TEXT)}
_IF_NONE_MATCH = parameter("If-None-Match", TEXT, "The ETag of a cached response.", "header")
_NOT_MODIFIED: Object = {"description": "Unchanged.", "headers": _ETAG}


def _post_events() -> Object:
    batch = {"consent": "granted", "events": [{"name": "pageview", "url": "https://example.com/pricing"}]}
    text = {"type": "string", "contentMediaType": JSON, "contentSchema": ref(Batch)}
    lines = {"type": "string", "description": "One Event per line. Consent comes from a header or a cookie."}
    stored = {JSON: ref(Stored)}
    described = operation(
        "postEvents",
        "Store events",
        {
            "200": response("Every accepted event was synced to disk.", stored),
            "202": response("Written but not synced, with FOLDLOG_DURABILITY=os.", stored),
            "422": response(
                "No event was accepted (application/json), or the body is not a batch (a problem).", stored
            ),
        },
        _WRITE_PROBLEMS,
        parameters=[
            parameter("dry_run", TEXT, "`1`: validate only, store nothing."),
            parameter("Foldlog-Consent", {"enum": ["granted"]}, "Consent, unless the batch has it.", "header"),
            parameter("Sec-GPC", TEXT, "`1`: rejected, unless FOLDLOG_HONOR_GPC=false.", "header"),
            parameter("DNT", TEXT, "`1`: rejected, unless FOLDLOG_HONOR_DNT=false.", "header"),
            parameter("Content-Encoding", {"enum": ["", *sorted(ENCODINGS)]}, "Compression of the body.", "header"),
        ],
    )
    return described | {
        "description": "From a page of this host or of FOLDLOG_SITES, or with an ingest key.",
        "security": [{}, {"bearer": []}, {"basic": []}],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": ref(Batch), "example": batch},
                TEXT_PLAIN: {"schema": text},
                NDJSON: {"schema": lines},
            },
        },
    }


def _get_pixel() -> Object:
    """Every answer is the image; a header has the code of a problem."""
    described = operation(
        "getPixel",
        "Store one event of mail, or of a page without scripts",
        {},
        _PIXEL_PROBLEMS,
        parameters=[
            parameter("k", TEXT | {"maxLength": KEY_MAX_CHARS}, "The key of a pixel: its site and use.")
            | {"required": True},
            parameter("url", TEXT, "The page."),
            parameter("consent", {"enum": ["granted"]}, "Consent, unless a cookie has it."),
            parameter("Sec-GPC", TEXT, "`1`: rejected, unless FOLDLOG_HONOR_GPC=false.", "header"),
            parameter("DNT", TEXT, "`1`: rejected, unless FOLDLOG_HONOR_DNT=false.", "header"),
        ],
    )
    taken = {"200": "The event was synced to disk.", "202": "Written but not synced, with FOLDLOG_DURABILITY=os."}
    described["responses"] |= {status: response(said, GIF) for status, said in taken.items()}
    described["responses"]["422"] = response("The event was rejected.", GIF)
    for status, found in described["responses"].items():
        found["content"] = found["content"] | GIF
        if status not in taken:
            problem = header("The code of the problem, or of the rejection.", TEXT, required=False)
            found["headers"] = found.get("headers", {}) | {"Foldlog-Problem": problem}
    return described


def _preflight() -> Object:
    names = ("Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers")
    allowed = {"description": "Allowed.", "headers": {name: header("As in CORS.", TEXT) for name in names}}
    origin = parameter(
        "Origin",
        TEXT | {"examples": ["https://example.com"]},
        "The origin of a page, with a host of FOLDLOG_SITES.",
        "header",
    )
    summary = "CORS preflight of POST"
    return operation("preflightEvents", summary, {"204": allowed}, ["origin"], parameters=[origin])


def _get_report() -> Object:
    report = {encode.REPORT_FORMATS["json"]: ref(Report)}
    ok = response("The report, or its rows.", media_types(encode.REPORT_FORMATS) | report)
    problems = (*READER_PROBLEMS, *READ_PROBLEMS, "timezones", "report_timeout")
    parameters = [*report_parameters(), SHARE]
    return operation("getReport", "One report", {"200": ok}, problems, parameters=parameters, token=True)


def _get_export() -> Object:
    formats = {"enum": list(encode.EXPORT_FORMATS), "default": "ndjson"}
    ok = response(
        "The archived events of a time span, ordered by time.",
        media_types(encode.EXPORT_FORMATS),
        {"Content-Disposition": header("A file name.", TEXT)},
    )
    parameters = [*SPAN, *named(("site",)), SCOPE, parameter("format", formats, "Format of the events."), RAW]
    problems = (*TOKEN_PROBLEMS, *READ_PROBLEMS)
    return operation("getExport", "Stream archived events", {"200": ok}, problems, parameters=parameters, token=True)


def _get_live_stream() -> Object:
    events = {"type": "string", "description": "Server-sent events: one JSON object for each arrival, as `data`."}
    ok = response("What arrives from now on.", {"text/event-stream": {"schema": events}})
    parameters = [parameter("site", TEXT, "Only arrivals of this site.")]
    problems = (*TOKEN_PROBLEMS, "busy", "query")
    return operation("getLiveStream", "Watch what arrives", {"200": ok}, problems, parameters=parameters, token=True)


def _get_snapshot() -> Object:
    either = {"anyOf": [ref(Snapshot), ref(Summary)]}
    responses = {"200": response("snapshot.json as it is on disk.", {JSON: either}, _ETAG), "304": _NOT_MODIFIED}
    problems = (*TOKEN_PROBLEMS, "query", "snapshot", "no_snapshot", "no_summary")
    view = parameter("view", {"enum": ["summary"]}, "`summary`: only the summary of the snapshot.")
    parameters = [view, _IF_NONE_MATCH]
    return operation("getSnapshot", "The snapshot", responses, problems, parameters=parameters, token=True)


def _get_status() -> Object:
    either = {"anyOf": [ref(Status), ref(Freshness)]}
    ok = response("The event balance, segments, lag and disk; of some sites, their freshness.", {JSON: either})
    return operation(
        "getStatus",
        "The state of the service",
        {"200": ok},
        (*READER_PROBLEMS, "snapshot"),
        parameters=[SHARE],
        token=True,
    )


def _post_fold() -> Object:
    ok = response("The snapshot was published.", {JSON: ref(FoldResponse)})
    return operation("postFold", "Seal and fold now", {"200": ok}, (*TOKEN_PROBLEMS, "snapshot", "fold"), token=True)


def _target() -> list[Object]:
    visitor = parameter(
        "id", TEXT | {"minLength": 1, "maxLength": ID_MAX_CHARS}, "The visitor id, as in events.", "path"
    ) | {"required": True}
    # The handler accepts upper case.
    host = f"^({SITE.pattern})$".replace("a-z", "a-zA-Z").replace("a-f", "a-fA-F")
    site = parameter(
        "site", TEXT | {"pattern": host, "examples": ["example.com"]}, "Only events of this site. Default: all sites."
    )
    return [visitor, site]


def _get_visitor() -> Object:
    ok = response("What the archive has of the visitor.", {JSON: ref(VisitorEvents)})
    problems = (*TOKEN_PROBLEMS, *READ_PROBLEMS, "report_timeout")
    summary = "What an erasure would take out"
    return operation("getVisitor", summary, {"200": ok}, problems, parameters=_target(), token=True)


def _delete_visitor() -> Object:
    responses = {
        "200": response("The visitor was erased.", {JSON: ref(Erased)}),
        "202": response("The next pass will erase the visitor.", {JSON: ref(ErasurePending)}),
    }
    return operation(
        "deleteVisitor",
        "Erase a visitor",
        responses,
        (*TOKEN_PROBLEMS, "query"),
        parameters=_target(),
        token=True,
    )


def _get_health() -> Object:
    return operation("getHealth", "Whether the process runs", {"200": response("It runs.", {JSON: ref(Health)})})


def _get_ready() -> Object:
    on_problems = {"Retry-After": RETRY_AFTER["Retry-After"] | {"required": False}}
    responses = {
        "200": response("The worker accepts events.", {JSON: ref(Readiness)}),
        "503": response(
            "The worker does not accept events (application/json), or a problem.", {JSON: ref(Readiness)}, on_problems
        ),
    }
    return operation("getReadiness", "Whether the worker can accept events", responses)


def _get_metrics() -> Object:
    ok = response("All workers and the compactor.", {CONTENT_TYPE_LATEST: TEXT})
    return operation("getMetrics", "Metrics for Prometheus", {"200": ok}, ["snapshot"])


def _get_openapi() -> Object:
    responses = {"200": response("OpenAPI 3.1.", {JSON: {"type": "object"}}, _ETAG), "304": _NOT_MODIFIED}
    return operation("getOpenapi", "This document", responses, parameters=[_IF_NONE_MATCH])


def make_document() -> Object:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(TYPES, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Foldlog",
            "version": version("foldlog"),
            "summary": "First-party event analytics",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/v1/events": {"post": _post_events(), "options": _preflight()},
            PIXEL: {"get": _get_pixel()},
            "/admin/api/report": {"get": _get_report()},
            **KIND_PATHS,
            "/admin/api/export": {"get": _get_export()},
            "/admin/api/live/stream": {"get": _get_live_stream()},
            "/admin/api/snapshot": {"get": _get_snapshot()},
            "/admin/api/status": {"get": _get_status()},
            "/admin/api/fold": {"post": _post_fold()},
            **MANAGEMENT_PATHS,
            "/admin/api/visitors/{id}": {"get": _get_visitor(), "delete": _delete_visitor()},
            "/healthz": {"get": _get_health()},
            "/readyz": {"get": _get_ready()},
            "/metrics": {"get": _get_metrics()},
            "/openapi.json": {"get": _get_openapi()},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The token is the password; any user name.",
                },
            },
        },
    }


def encode_document() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(make_document())
