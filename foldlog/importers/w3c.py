"""Logs whose own line `#Fields:` says what their columns are: IIS (W3C extended) and
CloudFront. The line may come again with other fields in the middle of a file.
"""

from __future__ import annotations

from collections.abc import Iterator

from foldlog.importers.formats import W3C_TIME, LineFormat

FIELDS = "#Fields:"
_COLUMN_OF = {
    "date": "date",
    "time": "clock",
    "c-ip": "address",
    "cs-method": "method",
    "cs-uri-stem": "stem",
    "cs-uri-query": "query",
    "sc-status": "status",
    "sc-bytes": "size",
    "cs(referer)": "referrer",
    "cs(user-agent)": "agent",
    "cs-host": "host",
    "cs(host)": "host",
    "x-host-header": "viewer_host",
    "x-forwarded-for": "forwarded",
    "cs(x-forwarded-for)": "forwarded",
    "sc-content-type": "content_type",
}
_NEEDED = {"date", "clock", "address", "stem", "status"}
# CloudFront writes texts percent-encoded, some twice; IIS a + for each blank.
_CLOUDFRONT = {"agent": "url_decode(replace({}, '%25', '%'))", "referrer": "replace({}, '%25', '%')"}
_IIS = {"agent": "replace({}, '+', ' ')"}


def format_of(directive: str) -> LineFormat | None:
    """The format of the lines behind this one; None where a column is missing that an
    event needs.
    """
    names = directive[len(FIELDS) :].split()
    columns = [_COLUMN_OF.get(name.lower(), "") for name in names]
    if not set(columns) >= _NEEDED:
        return None
    is_cloudfront = "x-edge-location" in names
    blank = r"\t" if is_cloudfront else " "
    if "viewer_host" in columns:
        columns = ["" if each == "host" else each for each in columns]
        columns = ["host" if each == "viewer_host" else each for each in columns]
    parts = []
    for index, column in enumerate(columns):
        is_new = column and column not in columns[:index]
        parts.append(f"(?P<{column}>[^{blank}]*)" if is_new else f"[^{blank}]*")
    pattern = f"{blank}".join(parts) + rf"(?:[{blank}].*)?"
    name = "cloudfront" if is_cloudfront else "iis"
    return LineFormat(name, W3C_TIME, pattern, around=_CLOUDFRONT if is_cloudfront else _IIS)


def sections(text: str, current: LineFormat | None) -> Iterator[tuple[int, str, LineFormat | None]]:
    """The parts of a text that have one format: how many lines are before each, its
    text, its format.
    """
    start, before = 0, 0
    while True:
        found = _next_directive(text, start)
        if found < 0:
            yield before, text[start:], current
            return
        if found > start:
            yield before, text[start : found - 1], current
            before += text.count("\n", start, found)
        end = text.find("\n", found)
        line = text[found:] if end < 0 else text[found:end]
        yield before, line, current
        current = format_of(line.rstrip("\r"))
        if end < 0:
            return
        before, start = before + 1, end + 1


def _next_directive(text: str, start: int) -> int:
    if text.startswith(FIELDS, start):
        return start
    found = text.find("\n" + FIELDS, start)
    return found + 1 if found >= 0 else -1
