"""Building blocks of the OpenAPI document: headers, parameters, responses, problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ingest.http import response_schemas
from ingest.http.problem import PROBLEM_TYPE

Object = dict[str, Any]

# Every problem code by status, except `not_found` and `method`, which no documented
# operation returns.
PROBLEMS = {
    400: ("http", "malformed", "query"),
    401: ("key", "token"),
    403: ("scope", "origin", "prerender", "consent", "pixel", "excluded_network", "share", "password"),
    404: ("no_snapshot", "no_summary", "no_such_name", "no_such_annotation", "no_such_hold"),
    408: ("slow",),
    409: ("timezones", "too_many_filters", "too_many_annotations", "too_many", "hold_changed"),
    413: ("too_large", "too_many_events"),
    415: ("media_type", "content_encoding"),
    417: ("expect",),
    422: ("batch_invalid", "batch_empty", "too_deep", "filter_invalid", "annotation_invalid", "invalid"),
    429: ("rate_limit", "guesses"),
    500: ("internal",),
    503: (
        *("busy", "connections", "stopping", "unavailable", "fold", "snapshot", "part"),
        *("report_timeout", "report_failed", "report_memory", "store_unavailable"),
        *("doctor_failed", "doctor_timeout"),
    ),
    507: ("disk_reserve", "disk_full"),
}
TOKEN_PROBLEMS = ("token", "scope", "origin", "rate_limit", "guesses")
# Of what a share link may ask, too.
READER_PROBLEMS = (*TOKEN_PROBLEMS, "share")
READ_PROBLEMS = ("query", "snapshot", "part", "report_failed", "report_memory", "store_unavailable", "busy")
_ANYWHERE = ("http", "slow", "expect", "internal", "connections", "stopping")


def ref(kind: type) -> Object:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def header(description: str, schema: Mapping[str, Any], *, required: bool = True) -> Object:
    return {"description": description, "required": required, "schema": schema}


TEXT: Object = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 0}
RETRY_AFTER = {"Retry-After": header("Seconds to wait before a retry.", _NUMBER)}
_RATE_LIMIT = {
    "RateLimit-Limit": header("What may be sent in one window: requests, or what the policy names.", _NUMBER),
    "RateLimit-Remaining": header("How much of it is left.", _NUMBER),
    "RateLimit-Policy": header("The limit, its window, and what it is of.", TEXT),
    "RateLimit-Reset": header("Seconds until as much is allowed again.", _NUMBER),
}
_REQUEST_ID = {"X-Request-Id": header("Identifies the request in the log.", TEXT, required=False)}
_PROBLEM_HEADERS: dict[int, Object] = {
    401: {"WWW-Authenticate": header("Bearer or Basic.", TEXT)},
    429: RETRY_AFTER | _RATE_LIMIT,
    503: RETRY_AFTER,
    507: RETRY_AFTER,
}


def response(description: str, content: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> Object:
    """A response. `content` maps media types to schemas; an empty schema is bytes."""
    shown = {media_type: {"schema": schema} if schema else {} for media_type, schema in content.items()}
    return {"description": description, "content": shown} | ({"headers": headers} if headers else {})


def media_types(formats: Mapping[str, str]) -> dict[str, Object]:
    """Media types that are text, or bytes for Parquet."""
    return {media_type: {} if name == "parquet" else TEXT for name, media_type in formats.items()}


def problem_responses(codes: Iterable[str]) -> dict[str, Object]:
    """The problem responses by status, each with those of `codes` that have it."""
    wanted = {*codes, *_ANYWHERE}
    found = {status: [code for code in every if code in wanted] for status, every in PROBLEMS.items()}
    return {str(status): _problem_response(status, shown) for status, shown in found.items() if shown}


def _problem_response(status: int, codes: list[str]) -> Object:
    fields = {"code": {"enum": codes}, "status": {"const": status}}
    schema = {"allOf": [ref(response_schemas.Problem)], "properties": fields}
    return response(", ".join(codes), {PROBLEM_TYPE: schema}, _PROBLEM_HEADERS.get(status, {}) | _REQUEST_ID)


def operation(
    operation_id: str,
    summary: str,
    responses: Mapping[str, Object],
    problems: Iterable[str] = (),
    *,
    parameters: Iterable[Object] = (),
    token: bool = False,
) -> Object:
    """One operation. `token`: it needs a token with the scope `read` or `admin`."""
    merged = problem_responses(problems)
    for status, given in responses.items():
        problem = merged.get(status, {"content": {}})
        merged[status] = problem | given | {"content": problem["content"] | given.get("content", {})}
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": [{"bearer": []}, {"basic": []}] if token else [],
        "parameters": list(parameters),
        "responses": dict(sorted(merged.items())),
    }


def parameter(name: str, schema: Mapping[str, Any], description: str, place: str = "query") -> Object:
    return {"name": name, "in": place, "required": False, "description": description, "schema": schema}


def report_parameter(name: str, schema: Mapping[str, Any], description: str) -> Object:
    """A parameter of a report or an export. An empty one counts as absent."""
    return parameter(name, schema, description) | {"allowEmptyValue": True}
