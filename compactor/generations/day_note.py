"""What each counters part notes of its day, for a rebuild that has no snapshot: which
parts make up the counters with it, and what these rows do not say themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compactor.generations.archive import OpenedPart, lists_by_version
from shared.generations.counter_schema import COUNTED
from shared.generations.snapshot import Day
from shared.schema import NOT_IN_VERSION_1
from shared.sql.counters import counters_sql

if TYPE_CHECKING:
    import duckdb

DAY_NOTE = "day"


class DayNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """`parts`: generations of the counters parts of the day, with the one that has the
    note. The others as in Day.
    """

    parts: tuple[int, ...]
    zone: str = "UTC"
    uncounted: tuple[str, ...] = ()
    capped: tuple[str, ...] = ()
    expired: bool = False


_DECODER = msgspec.json.Decoder(DayNote)


def encode_note(day: Day, parts: Iterable[int]) -> str:
    note = DayNote(tuple(sorted(parts)), day.zone, day.uncounted, day.capped, day.expired)
    return msgspec.json.encode(note).decode("ascii")


def read_note(database: duckdb.DuckDBPyConnection, path: Path, generation: int) -> DayNote:
    """The note of a part. One of version 1 has none: it is all of its day."""
    sql = "SELECT decode(value) FROM parquet_kv_metadata($1) WHERE decode(key) = $2"
    found = database.execute(sql, [str(path), DAY_NOTE]).fetchone()
    if found is None:
        return DayNote((generation,), uncounted=NOT_IN_VERSION_1)
    return _DECODER.decode(found[0])


def quarter_dimensions(database: duckdb.DuckDBPyConnection, parts: Iterable[OpenedPart]) -> tuple[str, ...]:
    """The dimensions that parts of a day count by quarter of an hour: the name of
    another one ends with a mark.
    """
    rows = f"SELECT DISTINCT dimension FROM {counters_sql(lists_by_version(parts))} WHERE visitors IS NULL"
    found = {name for (name,) in database.execute(rows).fetchall()}
    return tuple(name for name in COUNTED if name in found)
