"""SQL that takes the lines of a block apart, as a format says."""

from __future__ import annotations

from foldlog.importers.formats import (
    ANY_TIME,
    CLF_TIME,
    COLUMNS,
    EPOCH_TIME,
    ISO_TIME,
    LOCAL_TIME,
    W3C_TIME,
    LineFormat,
)
from foldlog.importers.prefixes import PREFIX, Wrapping, unwrapped
from foldlog.importers.usual_lines import V4, taken_apart, value

_LINES = "(SELECT unnest(parts) AS line, generate_subscripts(parts, 1) AS i FROM (SELECT string_split($text, chr(10)) AS parts))"  # fmt: skip  # noqa: E501
_CLF = "epoch_ms(try_strptime({}, '%d/%b/%Y:%H:%M:%S %z'))"
_ISO = r"CASE WHEN regexp_full_match({}, '\d{{4}}-\d\d-\d\d[T ][0-9:.]+(?:Z|[+-]\d\d:?\d\d)') THEN epoch_ms(try_cast({} AS TIMESTAMPTZ)) END"  # noqa: E501
_EPOCH = r"CASE WHEN regexp_full_match({}, '\d{{1,13}}(?:\.\d+)?(?:[eE]\+?\d\d?)?') THEN try_cast(round(try_cast({} AS DOUBLE) * CASE WHEN try_cast({} AS DOUBLE) > 1e11 THEN 1 ELSE 1000 END) AS BIGINT) END"  # noqa: E501
_W3C = r"CASE WHEN regexp_full_match({}, '\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?') THEN epoch_ms(try_cast({} AS TIMESTAMP)) END"  # noqa: E501
_LOCAL = "epoch_ms(try_strptime({}, ['%d/%b/%Y:%H:%M:%S.%g', '%d/%b/%Y:%H:%M:%S']))"
_REQUEST = "^([A-Za-z]{1,20}) (.*?)(?: HTTP/[0-9.]+)?$"
_SQL_OF_TIME = {CLF_TIME: _CLF, ISO_TIME: _ISO, EPOCH_TIME: _EPOCH, W3C_TIME: _W3C, LOCAL_TIME: _LOCAL}


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def parsed_sql(format_: LineFormat, wrapping: Wrapping) -> str:
    """A query with the columns i, is_comment, COLUMNS and time_ms of each line of
    `$text`.
    """
    line = unwrapped(wrapping, literal(PREFIX))
    lines = f"(SELECT i, {line} AS line FROM {_LINES})"
    return _json(format_, lines) if format_.paths else _text(format_, lines)


def _text(format_: LineFormat, lines: str) -> str:
    groups = _groups(format_.pattern)
    names = ", ".join(map(literal, groups))
    pattern = literal("^(?:" + _unnamed(format_.pattern) + ")\r?$")
    matched = f"regexp_extract(line, {pattern}, [{names}])"
    if format_.is_combined:
        values = {name: value(name) for name in groups}
        return _select(values, _time(format_.time, values["time"]), taken_apart(lines, matched), "is_usual")
    found = f"(SELECT i, line, {matched} AS m FROM {lines})"
    values = {name: f"m.{name}" for name in groups}
    if "stem" in values:
        query = values.get("query", "''")
        values["target"] = f"m.stem || CASE WHEN {query} IN ('', '-') THEN '' ELSE '?' || {query} END"
    if "date" in values:
        values["time"] = "m.date || ' ' || m.clock"
    for name, around in format_.around.items():
        if name in values:
            values[name] = around.format(values[name])
    return _select(values, _time(format_.time, values["time"]), found)


def _json(format_: LineFormat, lines: str) -> str:
    paths = [path for each in format_.paths.values() for path in each]
    listed = ", ".join(map(literal, paths))
    found = (
        f"(SELECT i, line, CASE WHEN starts_with(line, '{{') AND json_valid(line) "
        f"THEN json_extract_string(line, [{listed}]) END AS f FROM {lines})"
    )
    values = {
        column: f"coalesce({', '.join(f'f[{paths.index(path) + 1}]' for path in each)}, '')"
        for column, each in format_.paths.items()
    }
    if "request" in values:
        request = f"regexp_extract({values['request']}, {literal(_REQUEST)}, ['method', 'target'])"
        found = f"(SELECT *, {request} AS r FROM {found})"
        for name in ("method", "target"):
            values[name] = f"coalesce(nullif(r.{name}, ''), {values.get(name, chr(39) * 2)})"
    found = f"(SELECT *, {values['time']} AS written_time FROM {found})"
    return _select(values, _time(format_.time, "written_time"), found)


def _select(values: dict[str, str], time_ms: str, found: str, is_v4: str = "false") -> str:
    """`is_v4`: SQL of what is true only where the address is one of IPv4."""
    address = values["address"]
    network = f"CASE WHEN {is_v4} OR regexp_full_match({address}, '{V4}') THEN {address} ELSE '' END AS network"
    columns = ", ".join(f"{values.get(name) or chr(39) * 2} AS {name}" for name in COLUMNS)
    return (
        f"SELECT i, line IN ('', chr(13)) OR starts_with(line, '#') AS is_comment, {columns}, {network}, "
        f"{time_ms} AS time_ms FROM {found}"
    )


def _time(kind: str, value: str) -> str:
    if kind != ANY_TIME:
        return _SQL_OF_TIME[kind].replace("{}", value).replace("{{", "{").replace("}}", "}")
    tries = ", ".join(_time(each, value) for each in (ISO_TIME, CLF_TIME, EPOCH_TIME))
    return f"coalesce({tries})"


def _groups(pattern: str) -> list[str]:
    return [part.partition(">")[0] for part in pattern.split("(?P<")[1:]]


def _unnamed(pattern: str) -> str:
    """DuckDB takes the names apart from the pattern."""
    first, *rest = pattern.split("(?P<")
    return "(".join([first, *(part.partition(">")[2] for part in rest)])
