"""The kinds of report with an address of their own, and goals and saved filters, in the
OpenAPI document.
"""

from __future__ import annotations

from ingest.api import named_filters
from ingest.api.changing import JSON
from ingest.http.openapi_management import SHARE
from ingest.http.openapi_parameters import RAW, filter_pattern, named, steps_pattern
from ingest.http.openapi_parts import (
    READ_PROBLEMS,
    READER_PROBLEMS,
    TEXT,
    TOKEN_PROBLEMS,
    Object,
    media_types,
    operation,
    parameter,
    ref,
    report_parameter,
    response,
)
from ingest.http.report_schemas import (
    Cohorts,
    Funnel,
    GoalsReport,
    Live,
    Paths,
    ReportBatch,
)
from ingest.http.response_schemas import (
    Annotations,
    Filters,
    Goals,
    KeptAnnotation,
    KeptFilter,
    KeptGoal,
)
from reports import encode
from reports.kinds import batch, cohorts, funnel, goals, live, paths
from shared.annotations import ID_CHARS, Annotation
from shared.named_filters import NAME_MAX

# The format of a parameter that is JSON itself.
REPORTS = "reports"

KIND_TYPES = (
    *(
        Live,
        ReportBatch,
        Cohorts,
        Funnel,
        Paths,
        GoalsReport,
        Goals,
        Filters,
        KeptGoal,
        KeptFilter,
        Annotations,
        KeptAnnotation,
        Annotation,
    ),
    *(named_filters.Goal, named_filters.SavedFilter),
)
_FORMAT = parameter("format", {"enum": list(encode.REPORT_FORMATS), "default": "json"}, "The rows only, but for json.")
_WRITE_PROBLEMS = ("query", "malformed", "media_type", "too_large", "filter_invalid", "too_many_filters")
_DISK_PROBLEMS = ("busy", "unavailable", "disk_full", "store_unavailable")
_KEPT: dict[str, tuple[str, type, type, type]] = {
    "goals": ("Goal", Goals, named_filters.Goal, KeptGoal),
    "filters": ("Filter", Filters, named_filters.SavedFilter, KeptFilter),
}


def _report(operation_id: str, summary: str, kind: type, parameters: list[Object]) -> Object:
    ok = response(
        "The report, or its rows.", media_types(encode.REPORT_FORMATS) | {encode.REPORT_FORMATS["json"]: ref(kind)}
    )
    problems = (*READER_PROBLEMS, *READ_PROBLEMS, "timezones", "report_timeout")
    every = [*parameters, _FORMAT, RAW, SHARE]
    return operation(operation_id, summary, {"200": ok}, problems, parameters=every, token=True)


def _live() -> Object:
    limit = {"type": "integer", "minimum": 1, "maximum": live.LIMIT_MAX, "default": live.LIMIT_DEFAULT}
    common = tuple(name for name in live.COMMON if name != "limit")
    parameters = [*named(common), report_parameter("limit", limit, "How many values of each dimension.")]
    return _report("getLive", "The last minutes before the last pass", Live, parameters)


def _batch() -> Object:
    own = {"type": "object", "propertyNames": {"enum": list(batch.EACH)}, "additionalProperties": TEXT}
    reports = {"type": "array", "items": own, "minItems": 1, "maxItems": batch.REPORTS_MAX}
    example = '[{"by":"path","limit":"10"},{"measures":"visitors","compare":"previous"}]'
    asked = TEXT | {"format": REPORTS, "contentMediaType": JSON, "contentSchema": reports, "examples": [example]}
    about = "What each report is asked beside the rest: parameters of a report."
    parameters = [*named(batch.COMMON), parameter("reports", asked, about) | {"required": True}]
    ok = response("Each report as it would be alone.", {JSON: ref(ReportBatch)})
    problems = (*READER_PROBLEMS, *READ_PROBLEMS, "timezones", "report_timeout")
    json_only = parameter("format", {"enum": ["json"]}, "There is no other.")
    return operation(
        "getBatch",
        "Several reports of one time, site and filter",
        {"200": ok},
        problems,
        parameters=[*parameters, json_only, SHARE],
        token=True,
    )


def _cohorts() -> Object:
    (conditions,) = named(("filter",))
    parameters = [
        *named(cohorts.COMMON),
        report_parameter("period", {"enum": list(cohorts.PERIODS), "default": "week"}, "How long a period is."),
        report_parameter("return", conditions["schema"], "What a returning event has. Default: what a first one has."),
    ]
    return _report("getCohorts", "Visitors by their first period, and who came back", Cohorts, parameters)


def _funnel() -> Object:
    steps = TEXT | {
        "pattern": steps_pattern(funnel.STEPS_MIN, funnel.STEPS_MAX),
        "examples": ["path==/pricing;;event==signup"],
    }
    days = "([1-9][0-9]?|[12][0-9][0-9]|3[0-5][0-9]|36[0-5])d"
    window = TEXT | {"pattern": f"^({funnel.VISIT}|{days})$", "default": funnel.WINDOW_DEFAULT}
    parameters = [
        *named(funnel.COMMON),
        parameter("steps", steps, "Filters with `;;` between them.") | {"required": True},
        report_parameter("window", window, "Days from the first step to the last; `visit`: all within one visit."),
    ]
    return _report("getFunnel", "Visitors who took some steps one after another", Funnel, parameters)


def _paths() -> Object:
    at = TEXT | {"minLength": 1, "maxLength": paths.AT_MAX, "examples": ["/pricing"]}
    by = {"enum": list(paths.DIMENSIONS), "default": paths.DIMENSIONS[0]}
    parameters = [
        *named(paths.COMMON),
        parameter("at", at, "The page, or event, that others are before and after.") | {"required": True},
        report_parameter("by", by, "Of what visitors' ways are made."),
    ]
    return _report("getPaths", "What visitors did before and after", Paths, parameters)


def _conversions() -> Object:
    goal = report_parameter("goal", TEXT | {"maxLength": NAME_MAX}, "Only this goal.")
    return _report("getConversions", "Conversions of the goals", GoalsReport, [*named(goals.COMMON), goal])


def _kept(kind: str) -> Object:
    """Reading, keeping and deleting goals or filters."""
    one, of_all, body, kept = _KEPT[kind]
    listed = response("All of them, by name.", {JSON: ref(of_all)})
    done = {
        "200": response("It replaces one of that name.", {JSON: ref(kept)}),
        "201": response("It is new.", {JSON: ref(kept)}),
    }
    name = parameter("name", TEXT | {"minLength": 1, "maxLength": NAME_MAX}, "Which one.") | {"required": True}
    conditions = {"allOf": [ref(body)], "properties": {"filter": {"pattern": filter_pattern()}}}
    put = operation(f"put{one}", "Keep one", done, (*TOKEN_PROBLEMS, *_WRITE_PROBLEMS, *_DISK_PROBLEMS), token=True)
    return {
        "get": operation(
            f"get{one}s", f"The {kind} that are kept", {"200": listed}, (*TOKEN_PROBLEMS, "query"), token=True
        ),
        "put": put | {"requestBody": {"required": True, "content": {JSON: {"schema": conditions}}}},
        "delete": operation(
            f"delete{one}",
            "Delete one",
            {"204": {"description": "It is deleted."}},
            (*TOKEN_PROBLEMS, *_DISK_PROBLEMS, "query", "no_such_name"),
            parameters=[name],
            token=True,
        ),
    }


def _annotations() -> Object:
    """Reading, keeping and deleting what people note."""
    listed = response("Those of a site and of all sites, by time.", {JSON: ref(Annotations)})
    done = {
        "200": response("It was kept already.", {JSON: ref(KeptAnnotation)}),
        "201": response("It is new.", {JSON: ref(KeptAnnotation)}),
    }
    written = ("query", "malformed", "media_type", "too_large", "annotation_invalid", "too_many_annotations")
    put = operation("putAnnotation", "Keep one", done, (*TOKEN_PROBLEMS, *written, *_DISK_PROBLEMS), token=True)
    site = parameter("site", TEXT, "Only those of this site and of all sites.")
    id_ = parameter("id", TEXT | {"minLength": ID_CHARS, "maxLength": ID_CHARS}, "Which one.") | {"required": True}
    return {
        "get": operation(
            "getAnnotations",
            "What people note beside the numbers",
            {"200": listed},
            (*TOKEN_PROBLEMS, "query"),
            parameters=[site],
            token=True,
        ),
        "put": put | {"requestBody": {"required": True, "content": {JSON: {"schema": ref(Annotation)}}}},
        "delete": operation(
            "deleteAnnotation",
            "Delete one",
            {"204": {"description": "It is deleted."}},
            (*TOKEN_PROBLEMS, *_DISK_PROBLEMS, "query", "no_such_annotation"),
            parameters=[id_],
            token=True,
        ),
    }


KIND_PATHS: Object = {
    "/admin/api/annotations": _annotations(),
    "/admin/api/batch": {"get": _batch()},
    "/admin/api/live": {"get": _live()},
    "/admin/api/cohorts": {"get": _cohorts()},
    "/admin/api/funnel": {"get": _funnel()},
    "/admin/api/paths": {"get": _paths()},
    "/admin/api/goals/report": {"get": _conversions()},
    "/admin/api/goals": _kept("goals"),
    "/admin/api/filters": _kept("filters"),
}
