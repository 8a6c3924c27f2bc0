"""The fields of an event: one table from which the columns of log lines, of the fold
and of archive parts are derived.

To add a field, add it here, to the structs that a worker decodes and encodes
(ingest/collect/event.py and encode.py: explicit, for speed; a test compares them with
this table) and to docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

# What a field is to the fold. "key": which event it is. "time": when it happened or
# arrived. "content": copies of an event that differ in it conflict. "context": copies
# may differ in it. "url", "user_agent": computed from that field, so not in a log line.
# "derived": computed from columns of the archive, so not stored either.
Role = Literal["key", "time", "content", "context", "url", "user_agent", "derived"]


class Field(NamedTuple):
    """`name` and `type` (SQL) are those of the archive column.

    `line` is the key in a log line if it is not `name`, `line_type` the type in which
    DuckDB reads it. `by_request`: one value for all events of a request. `dimension` is
    the place among the dimensions of reports, 0 for none. `free_text`: may quote a
    visitor id. `by_server`: a client cannot send it. `since`: the first version of
    lines and archive parts that has it. `stored` are the columns of an archive part
    that replace it there, `derived` the columns of which it is the first that is set.
    """

    name: str
    role: Role
    type: str = "VARCHAR"
    line: str = ""
    line_type: str = ""
    required: bool = False
    by_request: bool = False
    dimension: int = 0
    free_text: bool = False
    by_server: bool = False
    since: int = 1
    stored: Mapping[str, str] | None = None
    derived: tuple[str, ...] = ()

    @property
    def line_name(self) -> str:
        return self.line or self.name

    @property
    def is_in_line(self) -> bool:
        return self.role not in {"url", "user_agent", "derived"}


# In the order of the archive columns. Each id, URL and referrer is stored in pieces,
# without what another column contains (shared/sql/archive_events.py).
FIELDS = (
    Field("id", "key", required=True, free_text=True, stored={"client_id": "VARCHAR", "random_id": "BLOB"}),
    Field("event", "content", line="name", required=True, dimension=1),
    Field("time", "time", "TIMESTAMP", required=True),
    Field("received", "time", "TIMESTAMP", required=True, by_request=True),
    Field("site", "key", required=True, by_request=True, dimension=2),
    Field("visitor", "context"),
    Field("daily", "context", "BOOLEAN", by_server=True, since=2),
    Field("session", "context", free_text=True),
    Field("url", "content", free_text=True, stored={"url_head": "VARCHAR", "url_tail": "VARCHAR"}),
    Field(
        "referrer_url",
        "content",
        line="referrer",
        free_text=True,
        stored={"referrer_head": "VARCHAR", "referrer_tail": "VARCHAR"},
    ),
    Field("ua", "context", by_request=True, free_text=True),
    Field("language", "context", by_request=True, dimension=10),
    Field("country", "context", by_request=True, dimension=9),
    Field("consent", "context", by_request=True),
    Field("value", "content", "DOUBLE"),
    Field("props", "content", line_type="JSON", free_text=True),
    Field("sender", "key", by_request=True, by_server=True, since=2),
    Field("region", "context", by_request=True, by_server=True, since=2),
    Field("city", "context", by_request=True, by_server=True, since=2),
    Field("screen", "context", free_text=True, by_server=True, since=2),
    Field("path", "url", dimension=3),
    Field("referrer", "url", dimension=4),
    Field("utm_source", "url", dimension=6),
    Field("utm_medium", "url", dimension=7),
    Field("utm_campaign", "url", dimension=8),
    Field("browser", "user_agent", dimension=11),
    Field("os", "user_agent", dimension=12),
    Field("device", "user_agent", dimension=13),
    Field("bot", "user_agent", "BOOLEAN"),
    Field("source", "derived", dimension=5, derived=("utm_source", "referrer")),
)


def names(fields: Iterable[Field], *roles: Role) -> tuple[str, ...]:
    """The names of the fields with these roles, in order."""
    return tuple(field.name for field in fields if field.role in roles)


# As DuckDB reads them from log lines; `v` stands before all others and `crc` after
# them.
LINE_COLUMNS = {field.line_name: field.line_type or field.type for field in FIELDS if field.is_in_line}
# Before the user agent is parsed.
INCOMING_COLUMNS = {field.name: field.type for field in FIELDS if field.role not in {"user_agent", "derived"}}
ARCHIVE_COLUMNS = {field.name: field.type for field in FIELDS if not field.derived}
STORED_COLUMNS = {
    **{name: type_ for field in FIELDS for name, type_ in (field.stored or {}).items()},
    **{field.name: field.type for field in FIELDS if not (field.stored or field.derived)},
}
_DERIVED = {field.name: field.derived for field in FIELDS if field.derived}
# Columns that a part of version 1 does not have.
COLUMNS_OF_VERSION_2 = {field.name: field.type for field in FIELDS if field.since == 2}
# Dimensions that counters of versions before 2 do not have.
NOT_IN_VERSION_1 = tuple(_DERIVED)
# In the order in which reports list them.
DIMENSIONS = tuple(field.name for field in sorted(FIELDS, key=lambda field: field.dimension) if field.dimension)
# Each counter row has event and site, and the value of one of these.
COUNTED_DIMENSIONS = tuple(name for name in DIMENSIONS if name not in {"event", "site"})
REQUIRED = tuple(field.name for field in FIELDS if field.required)
CONTENT = names(FIELDS, "content")
CONTEXT = names(FIELDS, "context")
FREE_TEXT = tuple(field.name for field in FIELDS if field.free_text)


def column_sql(name: str, table: str = "") -> str:
    """SQL of a field over a relation with ARCHIVE_COLUMNS, named `table` if it is."""
    prefix = f"{table}." if table else ""
    if name in _DERIVED:
        return f"coalesce({', '.join(prefix + column for column in _DERIVED[name])})"
    return prefix + name
