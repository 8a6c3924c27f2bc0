"""The parameters of reports and exports in the OpenAPI document: the grammar of
reports/query.py as schemas.
"""

from __future__ import annotations

from typing import get_args

from ingest.http.openapi_parts import TEXT, Object, parameter, report_parameter
from reports import encode
from reports.calendar import WEEKDAY, Interval
from reports.compare import Compare
from reports.dimensions import KEY_MAX, NAMES, PROPS
from reports.filters import FILTERS_MAX, NUMBER_OPERATORS, TEXT_OPERATORS
from reports.measures.names import DEFAULT, MEASURES, Visitors
from reports.query import LIMIT_DEFAULT, LIMIT_MAX, Bots, Scope

TIME_ZONE = "time-zone"  # a custom format: a name of the IANA database


def _moment(*examples: str) -> Object:
    """A date, or an instant with a zone, from 1970 on, as query.py parses it."""
    forms = [TEXT | {"format": "date"}, TEXT | {"format": "date-time"}]
    return {"anyOf": forms, "pattern": "^(19[7-9]|[2-8][0-9]{2})[0-9]-", "examples": list(examples)}


SPAN = (
    report_parameter(
        "from", _moment("2026-11-22", "2026-11-22T16:00:00Z"), "A date or an instant. Default: six days before `to`."
    ),
    report_parameter(
        "to", _moment("2026-11-23", "2026-11-22T17:00:00Z"), "A date (included) or an instant (not). Default: today."
    ),
    report_parameter(
        "tz",
        TEXT | {"format": TIME_ZONE, "examples": ["Europe/Berlin"]},
        "Time zone of dates. Default: FOLDLOG_TIMEZONE.",
    ),
)
SCOPE = report_parameter(
    "scope",
    {"enum": list(get_args(Scope))},
    "`all`: over all hosts of a PostgreSQL store, the default with one, 400 without. `host`: this directory.",
)
RAW = parameter(
    "raw",
    {"enum": ["0", "1"], "default": "0"},
    "`1`: CSV with the values as they are, for programs. Else no cell is a formula or has a control character.",
)


def _condition() -> str:
    """The grammar of a condition of filters.py; `;` is escaped as `\\;`."""
    key = rf"(?:props|query)[.](?:\\;|[^=!;]){{1,{KEY_MAX}}}"
    text = rf"(?:{'|'.join(NAMES)}|{key})(?:{'|'.join(TEXT_OPERATORS)})(?:\\;|[^;])*"
    number = rf"value[{''.join(NUMBER_OPERATORS)}][-+.0-9eE]+"
    return f"(?:{text}|{number})"


def filter_pattern() -> str:
    """Conditions separated by `;`."""
    condition = _condition()
    return f"^;*(?:{condition}(?:;+{condition}){{0,{FILTERS_MAX - 1}}};*)?$"


def steps_pattern(least: int, most: int) -> str:
    """Filters separated by `;;`."""
    condition = _condition()
    step = f"{condition}(?:;{condition}){{0,{FILTERS_MAX - 1}}}"
    return f"^(?:;;+)?{step}(?:;;+{step}){{{least - 1},{most - 1}}}(?:;;+)?$"


def named(names: tuple[str, ...]) -> list[Object]:
    """The parameters of a report with these names."""
    found = {each["name"]: each for each in report_parameters()}
    return [found[name] for name in names]


def _measures() -> Object:
    one = f"(?:{'|'.join(MEASURES)})"
    return TEXT | {"pattern": f"^{one}(?:,{one})*$", "default": ",".join(DEFAULT)}


def report_parameters() -> list[Object]:
    by = {
        "anyOf": [
            {"enum": list(NAMES)},
            TEXT | {"pattern": "^(?:props|query)[.]", "minLength": len(PROPS) + 1, "maxLength": len(PROPS) + KEY_MAX},
        ]
    }
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
    return [
        *SPAN,
        report_parameter("interval", {"enum": list(get_args(Interval)), "default": "none"}, "One row per interval."),
        report_parameter("week", {"enum": list(WEEKDAY), "default": "monday"}, "On which day a week begins."),
        report_parameter("by", by, "A dimension, `props.<key>` or `query.<name>`: one row per value."),
        report_parameter("event", TEXT, "Only events of this name."),
        report_parameter("site", TEXT, "Only events of this site."),
        report_parameter(
            "filter",
            TEXT | {"pattern": filter_pattern(), "examples": ["path==/a;country!=DE|FR", "path=~/docs/*"]},
            "Conditions.",
        ),
        report_parameter("limit", limit, "How many values of `by`."),
        report_parameter("bots", {"enum": list(get_args(Bots)), "default": "exclude"}, "Whether bots are counted."),
        report_parameter(
            "visitors",
            {"enum": list(get_args(Visitors)), "default": "exact"},
            "`none`: leave them out, which is faster.",
        ),
        report_parameter("measures", _measures(), "The numbers of each row and of the total, separated by commas."),
        report_parameter("compare", {"enum": list(get_args(Compare))}, "Each number beside that of an earlier time."),
        SCOPE,
        parameter(
            "format",
            {"enum": list(encode.REPORT_FORMATS), "default": "json"},
            "All but `json` contain the rows only.",
        ),
        RAW,
    ]
