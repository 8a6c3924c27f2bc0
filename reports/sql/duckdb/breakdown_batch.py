"""Events by several dimensions, for which the archive is read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reports.plan import ArchiveScan
from reports.sql.duckdb.composed import sql_file, with_relations
from reports.sql.duckdb.dimensions import dimension_sql
from reports.sql.duckdb.relations import matching_events
from reports.sql.statement import Parameters, Statement
from shared.sql.texts import TextNumbers


def breakdown_batch(scan: ArchiveScan, names: Sequence[str], limits: Sequence[int]) -> Statement:
    """Rows (place from 1 on of a dimension of `names`, value, events, events of all
    values) of the values with the most events, as many as `limits` says at that place;
    those with the most first. `scan`: without a dimension and without buckets.
    """
    bound, numbers = Parameters(), TextNumbers(keyed=True)
    places = range(1, len(names) + 1)
    texts = [dimension_sql(name, f"by{place}", bound) for place, name in zip(places, names, strict=True)]
    columns = ", ".join(f"{text} AS value_{place}" for place, text in zip(places, texts, strict=True))
    events = matching_events(replace(scan, by=None), bound, columns=columns)
    numbered = ", ".join(f"value_{place}, {numbers.number(f'value_{place}')} AS number_{place}" for place in places)
    # In a set of groups the columns of the others are NULL; `grouping` is 1 for them.
    place, value = (_of_set(sql, places) for sql in ("{}", "value_{}"))
    sets = ", ".join(f"(value_{place}, number_{place})" for place in places)
    counted = (
        f"SELECT {place} AS place, {value} AS value, count(*) AS events "
        f"FROM (SELECT {numbered} FROM ({events}) m) n GROUP BY GROUPING SETS ({sets})"
    )
    bound.value("limits", list(limits))
    return Statement(with_relations({"counted": counted}, sql_file("breakdown_batch.sql")), bound)


def _of_set(sql: str, places: Iterable[int]) -> str:
    """SQL of what `sql` is at the place whose set of groups a row is of."""
    cases = " ".join(f"WHEN grouping(value_{place}) = 0 THEN {sql.format(place)}" for place in places)
    return f"CASE {cases} END"
