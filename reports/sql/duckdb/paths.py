"""The statement of paths. Visitors and values are strong numbers, so that each stands
for one text.
"""

from __future__ import annotations

from reports.kinds.paths import PathsRead
from reports.sql.duckdb.composed import sql_file, with_relations
from reports.sql.duckdb.dimensions import dimension_sql
from reports.sql.duckdb.relations import all_hold, archived_events, selected_events
from reports.sql.statement import Parameters
from shared.sql.texts import TextNumbers

# A length before each text: none of them reaches into the next. Bots and people are
# never of one visit.
_VISITOR = (
    "concat_ws(' ', length(a.site), a.site, length(a.visitor), a.visitor, a.bot, "
    "CASE WHEN a.session IS NOT NULL THEN concat('in ', a.session) END)"
)


def paths_statement(read: PathsRead, bound: Parameters) -> str:
    numbers = TextNumbers(strong=True)
    at, value = bound.value("at", read.at), dimension_sql(read.of, "of", bound)
    bound.value("limit", read.limit)
    source = (
        f"FROM {archived_events(read.parts, bound)} a WHERE {selected_events(read.selection, bound)} "
        f"AND {all_hold(read.selection.conditions, bound)} AND a.visitor IS NOT NULL AND {value} IS NOT NULL"
    )
    columns = {
        "number": numbers.number(_VISITOR),
        "has_session": "a.session IS NOT NULL",
        "visitor": numbers.number("a.visitor"),
        **{name: f"a.{name}" for name in ("time", "received", "id", "sender")},
        "value": numbers.number(value),
        "is_at": f"{value} = {at}",
    }
    visited = f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in columns.items())} {source}"
    named = f"SELECT {numbers.number(value)} AS value, {value} AS text {source}"
    return with_relations({"visited": visited, "named": named}, sql_file("paths.sql"))
