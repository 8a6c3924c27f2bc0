"""GET /openapi.json: the contract of the HTTP interface, made of the types that
validate, so that it cannot say something else.

A client sends what ingest/collect/event.py and reports/query.py describe, and gets the
types below or the snapshot's own. tests/ingest/http/test_openapi.py holds the document
against the routes and against real answers. The files of the page are not part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, get_args

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest
from prometheus_client import CONTENT_TYPE_LATEST

from ingest.api.visitors import ID_MAX
from ingest.collect.body import ENCODINGS, JSON, NDJSON, TEXT
from ingest.collect.event import Batch, Event
from ingest.context import WorkerContext
from ingest.http.problem import PROBLEM_TYPE
from ingest.http.response_schemas import (
    Erased,
    ErasurePending,
    Folded,
    Health,
    Problem,
    Readiness,
    Report,
    Status,
    Stored,
)
from reports import encode
from reports.query import FILTERS_MAX, LIMIT_DEFAULT, LIMIT_MAX, PROPS, Bots, Interval, Visitors
from shared.generations.archive_schema import DIMENSIONS
from shared.generations.snapshot import Snapshot
from shared.host_names import SITE

TIME_ZONE = "time-zone"  # a format of our own: a name of the IANA database

Object = dict[str, Any]
TYPES = (Batch, Event, Stored, Problem, Report, Status, Snapshot, Folded, Erased, ErasurePending, Health, Readiness)

# The codes of every problem. `not_found` and `method` are not among them: no documented
# operation answers them.
PROBLEMS = {
    400: ("http", "malformed", "query"),
    401: ("key", "token"),
    403: ("scope", "origin", "consent"),
    404: ("no_snapshot",),
    408: ("slow",),
    413: ("too_large", "too_many_events"),
    415: ("media_type", "content_encoding"),
    417: ("expect",),
    422: ("batch_invalid", "batch_empty", "too_deep"),
    429: ("rate_limit",),
    500: ("internal",),
    503: (
        *("busy", "connections", "stopping", "unavailable", "fold", "snapshot", "part", "tokens"),
        *("report_timeout", "report_failed", "report_memory"),
    ),
    507: ("disk_reserve", "disk_full"),
}
_ANYWHERE = ("http", "slow", "expect", "internal", "connections", "stopping")
_WITH_TOKEN = ("token", "scope", "origin", "tokens")
_WRITING = (
    *(
        "malformed",
        "key",
        "scope",
        "origin",
        "consent",
        "too_large",
        "too_many_events",
        "media_type",
        "content_encoding",
    ),
    *("batch_invalid", "batch_empty", "too_deep", "rate_limit", "tokens", "busy", "unavailable"),
    *("disk_reserve", "disk_full"),
)


def _ref(kind: type) -> Object:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _header(description: str, schema: Mapping[str, Any], *, required: bool = True) -> Object:
    return {"description": description, "required": required, "schema": schema}


_TEXT: Object = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 0}
_RETRY_AFTER = {"Retry-After": _header("Seconds to wait before trying again.", _NUMBER)}
_RATE_LIMIT = {
    "RateLimit-Limit": _header("How many requests this client may send in one window.", _NUMBER),
    "RateLimit-Remaining": _header("How many are left of them.", _NUMBER),
    "RateLimit-Reset": _header("Seconds until there is room for another.", _NUMBER),
}
_REQUEST_ID = {"X-Request-Id": _header("Finds its line in the log.", _TEXT, required=False)}
_PROBLEM_HEADERS: dict[int, Object] = {
    401: {"WWW-Authenticate": _header("Bearer or Basic.", _TEXT)},
    429: _RETRY_AFTER | _RATE_LIMIT,
    503: _RETRY_AFTER,
    507: _RETRY_AFTER,
}
_ETAG = {"ETag": _header("For If-None-Match.", _TEXT)}


def _answer(description: str, content: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> Object:
    """A response whose `content` maps media types to schemas; an empty schema is
    bytes.
    """
    shown = {media_type: {"schema": schema} if schema else {} for media_type, schema in content.items()}
    return {"description": description, "content": shown} | ({"headers": headers} if headers else {})


def _problems(codes: Iterable[str]) -> dict[str, Object]:
    """The responses that are problems, by status, each with those of `codes` that have
    it.
    """
    wanted = {*codes, *_ANYWHERE}
    found = {status: [code for code in every if code in wanted] for status, every in PROBLEMS.items()}
    return {str(status): _problem(status, shown) for status, shown in found.items() if shown}


def _problem(status: int, codes: list[str]) -> Object:
    schema = {"allOf": [_ref(Problem)], "properties": {"code": {"enum": codes}, "status": {"const": status}}}
    return _answer(", ".join(codes), {PROBLEM_TYPE: schema}, _PROBLEM_HEADERS.get(status, {}) | _REQUEST_ID)


def _operation(
    operation_id: str,
    summary: str,
    answers: Mapping[str, Object],
    problems: Iterable[str] = (),
    *,
    parameters: Iterable[Object] = (),
    token: bool = False,
) -> Object:
    """One operation; `token` when it wants one that may read (or, to fold, one that may
    do everything).
    """
    responses = _problems(problems)
    for status, answer in answers.items():
        refused = responses.get(status, {"content": {}})
        responses[status] = refused | answer | {"content": refused["content"] | answer.get("content", {})}
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": [{"bearer": []}, {"basic": []}] if token else [],
        "parameters": list(parameters),
        "responses": dict(sorted(responses.items())),
    }


def _parameter(name: str, schema: Mapping[str, Any], description: str, place: str = "query") -> Object:
    return {"name": name, "in": place, "required": False, "description": description, "schema": schema}


def _question(name: str, schema: Mapping[str, Any], description: str) -> Object:
    """A parameter of a report or an export. An empty one is the same as none."""
    return _parameter(name, schema, description) | {"allowEmptyValue": True}


def _moment(*examples: str) -> Object:
    """What query.py understands: a date or an instant with a zone, from 1970 on."""
    forms = [_TEXT | {"format": "date"}, _TEXT | {"format": "date-time"}]
    return {"anyOf": forms, "pattern": "^(19[7-9]|[2-8][0-9]{2})[0-9]-", "examples": list(examples)}


_SPAN = (
    _question(
        "from", _moment("2026-11-22", "2026-11-22T16:00:00Z"), "A date or an instant. Default: six days before `to`."
    ),
    _question(
        "to", _moment("2026-11-23", "2026-11-22T17:00:00Z"), "A date (included) or an instant (not). Default: today."
    ),
    _question(
        "tz", _TEXT | {"format": TIME_ZONE, "examples": ["Europe/Berlin"]}, "Of dates. Default: FOLDLOG_TIMEZONE."
    ),
)


def _filter_pattern() -> str:
    """The grammar of query.py: conditions with `;` between them, which is written `\\;`
    in a value or a key.
    """
    key = rf"{PROPS.replace('.', '[.]')}(?:\\;|[^=!;]){{1,100}}"
    condition = rf"(?:{'|'.join(DIMENSIONS)}|{key})(?:==|!=)(?:\\;|[^;])*"
    return f"^;*(?:{condition}(?:;+{condition}){{0,{FILTERS_MAX - 1}}};*)?$"


def _report_parameters() -> list[Object]:
    by = {
        "anyOf": [
            {"enum": list(DIMENSIONS)},
            _TEXT | {"pattern": "^props[.]", "minLength": len(PROPS) + 1, "maxLength": len(PROPS) + 100},
        ]
    }
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    return [
        *_SPAN,
        _question("interval", {"enum": list(get_args(Interval)), "default": "none"}, "One row per interval."),
        _question("by", by, "A dimension, or `props.<key>`: one row per value."),
        _question("event", _TEXT, "Only events of this name."),
        _question("site", _TEXT, "Only events of this site."),
        _question(
            "filter", _TEXT | {"pattern": _filter_pattern(), "examples": ["path==/a;country!=DE"]}, "Conditions."
        ),
        _question("limit", limit, "How many values of `by`."),
        _question("bots", {"enum": list(get_args(Bots)), "default": "exclude"}, "Whether bots are counted."),
        _question(
            "visitors", {"enum": list(get_args(Visitors)), "default": "exact"}, "`none`: leave them out, be quick."
        ),
        _parameter(
            "format", {"enum": list(encode.REPORT_FORMATS), "default": "json"}, "`csv` and `ndjson` hold the rows only."
        ),
    ]


def _text_of(formats: Mapping[str, str]) -> dict[str, Object]:
    """Media types that are text, or bytes for Parquet."""
    return {media_type: {} if name == "parquet" else _TEXT for name, media_type in formats.items()}


def _post_events() -> Object:
    batch = {"consent": "granted", "events": [{"name": "pageview", "url": "https://example.com/pricing"}]}
    text = {"type": "string", "contentMediaType": JSON, "contentSchema": _ref(Batch)}
    lines = {"type": "string", "description": "One Event a line. Consent comes in a header or a cookie."}
    stored = {JSON: _ref(Stored)}
    operation = _operation(
        "postEvents",
        "Store events",
        {
            "200": _answer("Every accepted event is on disk, synced.", stored),
            "202": _answer("The same with FOLDLOG_DURABILITY=os: written, not synced.", stored),
            "422": _answer("No event was accepted (application/json), or this is no batch (a problem).", stored),
        },
        _WRITING,
        parameters=[
            _parameter("dry_run", _TEXT, "`1`: check, but store nothing."),
            _parameter("Foldlog-Consent", {"enum": ["granted"]}, "Consent, if the batch does not say it.", "header"),
            _parameter("Sec-GPC", _TEXT, "`1`: refused, unless FOLDLOG_HONOR_GPC=false.", "header"),
            _parameter("DNT", _TEXT, "`1`: refused, unless FOLDLOG_HONOR_DNT=false.", "header"),
            _parameter("Content-Encoding", {"enum": ["", *sorted(ENCODINGS)]}, "How the body is compressed.", "header"),
        ],
    )
    return operation | {
        "description": "From a page that may write (its browser says so), or with a key that may.",
        "security": [{}, {"bearer": []}, {"basic": []}],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _ref(Batch), "example": batch},
                TEXT: {"schema": text},
                NDJSON: {"schema": lines},
            },
        },
    }


def _preflight() -> Object:
    names = ("Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers")
    allowed = {"description": "It may.", "headers": {name: _header("As in CORS.", _TEXT) for name in names}}
    origin = _parameter(
        "Origin", _TEXT | {"examples": ["https://example.com"]}, "A page's. FOLDLOG_SITES names its host.", "header"
    )
    summary = "Whether a page of another host may send events"
    return _operation("preflightEvents", summary, {"204": allowed}, ["origin"], parameters=[origin])


def _get_report() -> Object:
    report = {encode.REPORT_FORMATS["json"]: _ref(Report)}
    answer = _answer("The report, or its rows.", _text_of(encode.REPORT_FORMATS) | report)
    problems = (*_WITH_TOKEN, "snapshot", "part", "query", "report_timeout", "report_failed", "report_memory")
    return _operation("getReport", "One report", {"200": answer}, problems, parameters=_report_parameters(), token=True)


def _get_export() -> Object:
    formats = {"enum": list(encode.EXPORT_FORMATS), "default": "ndjson"}
    answer = _answer(
        "The archived events of a time, in order of time.",
        _text_of(encode.EXPORT_FORMATS),
        {"Content-Disposition": _header("A name for the file.", _TEXT)},
    )
    parameters = [*_SPAN, _parameter("format", formats, "How the events are written.")]
    problems = (*_WITH_TOKEN, "query", "part", "report_failed")
    return _operation(
        "getExport", "Archived events, as a stream", {"200": answer}, problems, parameters=parameters, token=True
    )


def _get_snapshot() -> Object:
    answers = {"200": _answer("snapshot.json as it is on disk.", {JSON: _ref(Snapshot)}, _ETAG), "304": _NOT_MODIFIED}
    problems = (*_WITH_TOKEN, "snapshot", "no_snapshot")
    return _operation("getSnapshot", "The snapshot", answers, problems, parameters=[_IF_NONE_MATCH], token=True)


def _get_status() -> Object:
    answer = _answer("The balance, segments, lag and disk.", {JSON: _ref(Status)})
    return _operation("getStatus", "Where everything is", {"200": answer}, (*_WITH_TOKEN, "snapshot"), token=True)


def _post_fold() -> Object:
    answer = _answer("The snapshot was published.", {JSON: _ref(Folded)})
    return _operation("postFold", "Seal and fold now", {"200": answer}, (*_WITH_TOKEN, "snapshot", "fold"), token=True)


def _delete_visitor() -> Object:
    visitor = _parameter("id", _TEXT | {"minLength": 1, "maxLength": ID_MAX}, "As events carry it.", "path") | {
        "required": True
    }
    host = f"^({SITE.pattern})$".replace("a-z", "a-zA-Z").replace(
        "a-f", "a-fA-F"
    )  # in any case, as the handler takes it
    site = _parameter(
        "site", _TEXT | {"pattern": host, "examples": ["example.com"]}, "Only events of this site. Default: of all."
    )
    answers = {
        "200": _answer("The visitor is erased.", {JSON: _ref(Erased)}),
        "202": _answer("It will be done by the next pass.", {JSON: _ref(ErasurePending)}),
    }
    return _operation(
        "deleteVisitor", "Erase a visitor", answers, (*_WITH_TOKEN, "query"), parameters=[visitor, site], token=True
    )


def _get_health() -> Object:
    return _operation("getHealth", "Whether the worker answers", {"200": _answer("It does.", {JSON: _ref(Health)})})


def _get_ready() -> Object:
    on_problems = {"Retry-After": _RETRY_AFTER["Retry-After"] | {"required": False}}
    answers = {
        "200": _answer("It takes events.", {JSON: _ref(Readiness)}),
        "503": _answer("It does not (application/json), or a problem.", {JSON: _ref(Readiness)}, on_problems),
    }
    return _operation("getReadiness", "Whether the worker can take events", answers)


def _get_metrics() -> Object:
    answer = _answer("All workers and the compactor.", {CONTENT_TYPE_LATEST: _TEXT})
    return _operation("getMetrics", "Numbers for Prometheus", {"200": answer}, ["snapshot"])


def _get_openapi() -> Object:
    answers = {"200": _answer("OpenAPI 3.1.", {JSON: {"type": "object"}}, _ETAG), "304": _NOT_MODIFIED}
    return _operation("getOpenapi", "This document", answers, parameters=[_IF_NONE_MATCH])


_IF_NONE_MATCH = _parameter("If-None-Match", _TEXT, "The ETag of an answer that is still there.", "header")
_NOT_MODIFIED: Object = {"description": "It is still the same.", "headers": _ETAG}


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
            "/admin/api/report": {"get": _get_report()},
            "/admin/api/export": {"get": _get_export()},
            "/admin/api/snapshot": {"get": _get_snapshot()},
            "/admin/api/status": {"get": _get_status()},
            "/admin/api/fold": {"post": _post_fold()},
            "/admin/api/visitors/{id}": {"delete": _delete_visitor()},
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


_DOCUMENT = msgspec.json.encode(make_document())
_TAG = f'"{hashlib.sha256(_DOCUMENT).hexdigest()[:16]}"'


async def get_openapi(_worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The document; it changes with the version only."""
    headers = {"ETag": _TAG, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == _TAG:
        return web.Response(status=304, headers=headers)
    return web.Response(body=_DOCUMENT, content_type=JSON, headers=headers)
