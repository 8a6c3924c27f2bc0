"""The statement of a funnel, composed of a part for each step.

Events are sorted once, by visitor and time. Then each step passes over them in that
order and keeps no more than one row, so that the cost is that of the sort, whatever the
events are. Visitors with several events of one time are done once more, in full order:
few have such events, and ids cost much.

Within a visit the visits stand for the visitors there, all of them in full order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from reports.kinds.funnel import FunnelRead
from reports.sql.duckdb.composed import sql_file
from reports.sql.duckdb.dimensions import dimension_sql
from reports.sql.duckdb.relations import all_hold, archived_events, selected_events
from reports.sql.statement import Parameters
from shared.sql.archive_events import empty_relation_sql
from shared.sql.parquet import parquet
from shared.sql.texts import TextNumbers
from shared.sql.visits import LONGEST_S, VISIT_COLUMNS
from shared.timestamps import DAY_S

# More conditions than a filter may have.
_CONDITIONS = 1_000
_BY_TIME = "visitor, since_start"
_IN_FULL = "visitor, since_start, received, id, sender, site"


# The columns of `a` beside the steps, and what events within visits have besides.
_COLUMNS = ("visitor", "time", "received", "id", "sender", "site", "daily")
_OF_VISITS = ("session", "bot")
_VISIT = timedelta(seconds=LONGEST_S)


def funnel_statement(read: FunnelRead, bound: Parameters) -> str:
    window = _VISIT if read.window is None else read.window
    selection, window_ms = read.selection, int(window.total_seconds()) * 1000
    begin_ms, end_ms = (int(moment.timestamp() * 1000) for moment in (selection.start, selection.end))
    bound.value("begin_ms", begin_ms)
    bound.value("window_ms", window_ms)
    bound.value("span", end_ms - begin_ms + DAY_S * 1000 + window_ms)
    holes = _holes(read)
    number = TextNumbers(strong=True).number("m.value")
    visitors = _of_days(read, number, bound) if read.window else _of_visits(read, number, bound)
    parts = [_matched(read, bound), *visitors, *_places(read, number, bound)]
    return _filled("funnel.sql", holes).replace("WITH\n", "WITH\n" + "\n".join(parts) + "\n", 1)


def _of_days(read: FunnelRead, number: str, bound: Parameters) -> Iterator[str]:
    """The relations that end in `visitors`, within a window of days."""
    yield from _events(read, number)
    yield from _run(read, "once", "events", _BY_TIME)
    yield _filled("funnel_tied.sql", {})
    yield from _run(read, "again", "events_of_tied", _IN_FULL)
    yield _filled("funnel_visitors.sql", _holes(read))


def _of_visits(read: FunnelRead, number: str, bound: Parameters) -> Iterator[str]:
    """Likewise, within visits."""
    numbers = TextNumbers(strong=True)
    yield (
        f"events_in_full AS NOT MATERIALIZED (SELECT {numbers.number(_key('m'))} AS key, "
        f"{numbers.number('m.visitor')} AS owner, m.time, m.received, m.id, m.sender, m.site, m.steps, m.daily, "
        f"{_value_of_first(read, number)} AS value FROM matched m WHERE m.steps <> 0),"
    )
    visits = parquet(bound.value("visits", list(read.visits))) if read.visits else empty_relation_sql(VISIT_COLUMNS)
    yield f"begun AS NOT MATERIALIZED (SELECT {numbers.number(_key('v'))} AS key, v.begun_at FROM {visits} v),"
    yield _filled("funnel_visits.sql", {"visit": numbers.number("concat_ws(' ', e.key, epoch_ms(b.begun_at))")})
    yield from _run(read, "once", "events_of_visits", _IN_FULL)
    yield _filled("funnel_visitors_of_visits.sql", _holes(read))


def _key(table: str) -> str:
    """SQL of what the events of one visit have in common, and visits of one visitor:
    each ends before the next of the same key begins. A length before each text: none of
    them reaches into the next.
    """
    texts = ", ".join(f"length({table}.{name}), {table}.{name}" for name in ("site", "visitor"))
    session = f"CASE WHEN {table}.session IS NOT NULL THEN concat('in ', {table}.session) END"
    return f"concat_ws(' ', {table}.bot, coalesce({table}.daily, false), {texts}, {session})"


def _value_of_first(read: FunnelRead, number: str) -> str:
    return "NULL::UTINYINT" if read.by is None else f"CASE WHEN m.steps & 1 <> 0 THEN {number} END"


def _matched(read: FunnelRead, bound: Parameters) -> str:
    """The relation of the events of steps."""
    bits = [
        f"CASE WHEN {all_hold(step, bound, place * _CONDITIONS)} THEN {1 << place - 1} ELSE 0 END"
        for place, step in enumerate(read.steps, 1)
    ]
    value = "NULL::VARCHAR" if read.by is None else dimension_sql(read.by, "by", bound)
    columns = ", ".join(f"a.{name}" for name in (*_COLUMNS, *(_OF_VISITS if read.window is None else ())))
    matched = (
        f"SELECT {columns}, {value} AS value, ({' | '.join(bits)})::USMALLINT AS steps "
        f"FROM {archived_events(read.parts, bound)} a "
        f"WHERE {selected_events(read.selection, bound)} AND {all_hold(read.selection.conditions, bound)} "
        "AND a.visitor IS NOT NULL"
    )
    return f"matched AS NOT MATERIALIZED ({matched}),"


def _events(read: FunnelRead, number: str) -> Iterator[str]:
    """The relations of events, in two forms. Both have the same numbers for the same
    texts.
    """
    visitors = TextNumbers(strong=read.is_strong, keyed=not read.is_strong)
    other = "NULL::UBIGINT" if read.is_strong else TextNumbers(keyed=True).number("m.visitor")
    columns = f"{visitors.number('m.visitor')} AS visitor, {other} AS other, m.time, m.steps, m.daily"
    of_first = _value_of_first(read, number)
    for name, more in (("events", ""), ("events_in_full", ", m.received, m.id, m.sender, m.site")):
        columns_of = f"{columns}, {of_first} AS value{more}"
        yield f"{name} AS NOT MATERIALIZED (SELECT {columns_of} FROM matched m WHERE m.steps <> 0),"


def _run(read: FunnelRead, run: str, events: str, order: str) -> Iterator[str]:
    """Relations that end in the events with which visitors reach steps."""
    holes = _holes(read)
    yield _filled("funnel_order.sql", {"run": run, "events": events, "order": order, **holes})
    for step in range(2, len(read.steps) + 1):
        of_step = {"run": run, "step": str(step), "before": str(step - 1), "bit": str(1 << step - 1)}
        yield _filled("funnel_step.sql", of_step)
    yield _filled("funnel_reached.sql", {"run": run, **holes})


def _holes(read: FunnelRead) -> dict[str, str]:
    later = range(2, len(read.steps) + 1)
    times = [f"{name}_{step}" for step in later for name in ("since", "total")]
    is_of_visits = read.window is None
    moment = "{'ms': (place - person)::BIGINT, 'tie': tie} AS moment"
    return {
        "last": str(len(read.steps)),
        "carried": ", owner, tie" if is_of_visits else "",
        "carried_on": f", owner, {moment}" if is_of_visits else ", (place - person)::BIGINT AS since_start",
        "runs": "FROM once_reached" if is_of_visits else "FROM once_reached UNION ALL FROM again_reached",
        "times_of_visits": ", ".join(f"arg_min({name}, moment) AS {name}" for name in times),
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
