"""The statement of a funnel, composed of a part for each step.

Events are sorted once, by visitor and time. Then each step passes over them in that
order and keeps no more than one row, so that the cost is that of the sort, whatever the
events are. Visitors with several events of one time are done once more, in full order:
few have such events, and ids cost much.
"""

from __future__ import annotations

from collections.abc import Iterator

from reports.kinds.funnel import FunnelRead
from reports.sql.duckdb.composed import sql_file
from reports.sql.duckdb.dimensions import dimension_sql
from reports.sql.duckdb.relations import all_hold, archived_events, selected_events
from reports.sql.statement import Parameters
from shared.sql.texts import TextNumbers
from shared.timestamps import DAY_S

# More conditions than a filter may have.
_CONDITIONS = 1_000
_BY_TIME = "visitor, time"
_IN_FULL = "visitor, time, received, id, sender, site"


def funnel_statement(read: FunnelRead, bound: Parameters) -> str:
    selection, window_ms = read.selection, int(read.window.total_seconds()) * 1000
    begin_ms, end_ms = (int(moment.timestamp() * 1000) for moment in (selection.start, selection.end))
    bound.value("begin_ms", begin_ms)
    bound.value("window_ms", window_ms)
    bound.value("span", end_ms - begin_ms + DAY_S * 1000 + window_ms)
    holes = _holes(read)
    number = TextNumbers(strong=True).number("m.value")
    parts = [
        *_events(read, number, bound),
        *_run(read, "once", "events", _BY_TIME),
        _filled("funnel_tied.sql", {}),
        *_run(read, "again", "events_of_tied", _IN_FULL),
        _filled("funnel_visitors.sql", holes),
        *_places(read, number, bound),
    ]
    return _filled("funnel.sql", holes).replace("WITH\n", "WITH\n" + "\n".join(parts) + "\n", 1)


def _events(read: FunnelRead, number: str, bound: Parameters) -> Iterator[str]:
    """The relations of events, in two forms, and of the values at the first step. All
    have the same numbers for the same texts.
    """
    visitors = TextNumbers(strong=read.is_strong, keyed=not read.is_strong)
    other = "NULL::UBIGINT" if read.is_strong else TextNumbers(keyed=True).number("m.visitor")
    bits = [
        f"CASE WHEN {all_hold(step, bound, place * _CONDITIONS)} THEN {1 << place - 1} ELSE 0 END"
        for place, step in enumerate(read.steps, 1)
    ]
    value = "NULL::VARCHAR" if read.by is None else dimension_sql(read.by, "by", bound)
    matched = (
        f"SELECT a.visitor, a.time, a.received, a.id, a.sender, a.site, a.daily, {value} AS value, "
        f"{' | '.join(bits)} AS steps FROM {archived_events(read.parts, bound)} a "
        f"WHERE {selected_events(read.selection, bound)} AND {all_hold(read.selection.conditions, bound)} "
        "AND a.visitor IS NOT NULL"
    )
    yield f"matched AS NOT MATERIALIZED ({matched}),"
    columns = f"{visitors.number('m.visitor')} AS visitor, {other} AS other, m.time, m.steps, m.daily"
    of_first = "NULL::UHUGEINT" if read.by is None else f"CASE WHEN m.steps & 1 <> 0 THEN {number} END"
    for name, more in (("events", ""), ("events_in_full", ", m.received, m.id, m.sender, m.site")):
        columns_of = f"{columns}, {of_first} AS value{more}"
        yield f"{name} AS NOT MATERIALIZED (SELECT {columns_of} FROM matched m WHERE m.steps <> 0),"


def _run(read: FunnelRead, run: str, events: str, order: str) -> Iterator[str]:
    """Relations that end in the events with which visitors reach steps."""
    yield _filled("funnel_order.sql", {"run": run, "events": events, "order": order})
    for step in range(2, len(read.steps) + 1):
        holes = {"run": run, "step": str(step), "before": str(step - 1), "bit": str(1 << step - 1)}
        yield _filled("funnel_step.sql", holes)
    yield _filled("funnel_reached.sql", {"run": run, **_holes(read)})


def _holes(read: FunnelRead) -> dict[str, str]:
    later = range(2, len(read.steps) + 1)
    times = [f"{name}_{step}" for step in later for name in ("since", "total")]
    return {
        "last": str(len(read.steps)),
        "reaches": " OR ".join(f"reaches_{step}" for step in (1, *later)),
        "first_times": ", ".join(
            f"CASE WHEN reaches_{step} THEN {name}_{step} END AS {name}_{step}"
            for step in later
            for name in ("since", "total")
        ),
        "times_of_visitor": ", ".join(f"max({name}) AS {name}" for name in times),
        "counts": f"[count(*), {', '.join(f'count(since_{step})' for step in later)}]",
        "numbers_of_times": str(list(range(1, len(times) + 1))),
        "times": f"[{', '.join(times)}]",
    }


def _places(read: FunnelRead, number: str, bound: Parameters) -> Iterator[str]:
    if read.by is None:
        yield _filled("funnel_all.sql", {})
        return
    bound.value("limit", read.limit)
    texts = f"SELECT {number} AS number, m.value FROM matched m WHERE m.steps & 1 <> 0"
    yield f"texts AS NOT MATERIALIZED ({texts}),"
    yield _filled("funnel_values.sql", {})


def _filled(name: str, holes: dict[str, str]) -> str:
    """A part of the statement. Only these names are holes."""
    text = sql_file(name)
    for hole, sql in holes.items():
        text = text.replace(f"{{{hole}}}", sql)
    return text
