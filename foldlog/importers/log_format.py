"""A pattern in nginx's own `log_format` syntax becomes a LineFormat: `--format
'$remote_addr [$time_local] "$request" $status'`. The whole directive may be pasted.

What a variable holds ends where the text behind it begins. A pattern that is JSON (with
`escape=json`) is read as JSON, by its keys.
"""

from __future__ import annotations

import json
import re

from foldlog.importers.formats import ANY_TIME, CLF_TIME, EPOCH_TIME, ISO_TIME, QUOTED, REQUEST, LineFormat
from shared.settings import SettingsError

_VARIABLE = re.compile(r"\$\{?([a-z0-9_]+)\}?")
_PART = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_COLUMN_OF = {
    "remote_addr": "address",
    "http_x_real_ip": "address",
    "http_x_forwarded_for": "forwarded",
    "proxy_add_x_forwarded_for": "forwarded",
    "request": "request",
    "request_method": "method",
    "request_uri": "target",
    "uri": "target",
    "status": "status",
    "body_bytes_sent": "size",
    "bytes_sent": "size",
    "http_referer": "referrer",
    "http_user_agent": "agent",
    "host": "host",
    "http_host": "host",
    "server_name": "host",
    "sent_http_content_type": "content_type",
}
_TIMES = {"time_local": CLF_TIME, "time_iso8601": ISO_TIME, "msec": EPOCH_TIME}
# Where nothing else bounds them.
_SHAPES = {
    "address": r"[0-9A-Fa-f:.][0-9A-Fa-f:.,\[\] ]*?",
    "status": r"\d{3}",
    "time": r"[^\]\"]{1,40}?",
    "host": r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?",
}


def is_pattern(text: str) -> bool:
    return "$" in text


def line_format(text: str) -> LineFormat:
    """Raises SettingsError where the pattern lacks what an event needs."""
    pattern = _pattern_of(text)
    variables = _VARIABLE.findall(pattern)
    known = {_COLUMN_OF.get(each, "time" if each in _TIMES else "") for each in variables}
    for column, name in {"time": "$time_local, $time_iso8601 or $msec", "status": "$status"}.items():
        if column not in known:
            raise SettingsError(f"the pattern of --format has no {name}")
    if not known & {"address", "forwarded"}:
        raise SettingsError("the pattern of --format has no $remote_addr")
    if not known & {"request", "target"}:
        raise SettingsError("the pattern of --format has neither $request nor $request_uri")
    if pattern.lstrip().startswith("{"):
        return _json_format(pattern)
    return LineFormat("pattern", _time_of(variables), _regular_expression(pattern))


def _pattern_of(text: str) -> str:
    """The pattern of a whole directive, or the text itself."""
    if not text.strip().startswith("log_format"):
        return text
    return "".join(first or second for first, second in _PART.findall(text))


def _time_of(variables: list[str]) -> str:
    return next(_TIMES[each] for each in variables if each in _TIMES)


def _regular_expression(pattern: str) -> str:
    parts: list[str] = []
    used: set[str] = set()
    end = 0
    for match in _VARIABLE.finditer(pattern):
        literal = pattern[end : match.start()]
        following = pattern[match.end() : match.end() + 1]
        end = match.end()
        name = match[1]
        column = _COLUMN_OF.get(name, "time" if name in _TIMES else "")
        if column == "request" and literal.endswith('"') and following == '"':
            parts += [re.escape(literal[:-1]), REQUEST]
            end += 1
        else:
            parts += [re.escape(literal), _group(column, following, used)]
        used.add(column)
    parts.append(re.escape(pattern[end:]))
    return "".join(parts).replace(r"\ ", " ") + r"(?:[ \t].*)?"


def _group(column: str, following: str, used: set[str]) -> str:
    if column == "request":
        return r"(?P<method>[A-Za-z]{1,20}) (?P<target>.*?)(?: HTTP/[0-9.]+)?"
    shape = _SHAPES.get(column) or (_until(following))
    if not column or column in used:
        return f"(?:{shape})"
    return f"(?P<{column}>{shape})"


def _until(following: str) -> str:
    if following == '"':
        return QUOTED
    if not following:
        return ".*"
    return ".*?" if following == " " else f"[^{re.escape(following)}]*"


def _json_format(pattern: str) -> LineFormat:
    quoted = re.sub(r"(:\s*)(\$\{?[a-z0-9_]+\}?)(\s*[,}])", r'\1"\2"\3', pattern)
    try:
        fields = json.loads(quoted)
    except ValueError:
        raise SettingsError("the pattern of --format begins as JSON and is none") from None
    paths: dict[str, tuple[str, ...]] = {}
    for path, value in _leaves(fields, "$"):
        match = _VARIABLE.fullmatch(str(value))
        column = match and (_COLUMN_OF.get(match[1]) or ("time" if match[1] in _TIMES else None))
        if column:
            paths[column] = (*paths.get(column, ()), path)
    return LineFormat("pattern", ANY_TIME, paths=paths)


def _leaves(value: object, path: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in _leaves(each, f'{path}."{key}"')]
    return [(path, value)]
