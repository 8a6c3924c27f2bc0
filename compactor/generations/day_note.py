"""What each counters part notes of its day, for a rebuild that has no snapshot: which
parts make up the counters with it, and what they count.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shared.generations.snapshot import Day
from shared.schema import COUNTED_DIMENSIONS, NOT_IN_VERSION_1

if TYPE_CHECKING:
    import duckdb

DAY_NOTE = "day"


class DayNote(msgspec.Struct, frozen=True):
    """`parts`: generations of the counters parts of the day, with the one that has the
    note. The others as in Day.
    """

    parts: tuple[int, ...]
    quarters: tuple[str, ...]
    zone: str
    uncounted: tuple[str, ...]
    capped: tuple[str, ...]
    expired: bool


_DECODER = msgspec.json.Decoder(DayNote)


def encode_note(day: Day, parts: Iterable[int]) -> str:
    note = DayNote(tuple(sorted(parts)), day.quarters, day.zone, day.uncounted, day.capped, day.expired)
    return msgspec.json.encode(note).decode("ascii")


def read_note(database: duckdb.DuckDBPyConnection, path: Path, generation: int) -> DayNote:
    """The note of a part. One of version 1 has none: it is all of its day, and has
    every dimension of its time by quarter of an hour.
    """
    sql = "SELECT decode(value) FROM parquet_kv_metadata($1) WHERE decode(key) = $2"
    found = database.execute(sql, [str(path), DAY_NOTE]).fetchone()
    if found is not None:
        return _DECODER.decode(found[0])
    quarters = ("event", *(name for name in COUNTED_DIMENSIONS if name not in NOT_IN_VERSION_1))
    return DayNote((generation,), quarters, "UTC", NOT_IN_VERSION_1, (), expired=False)
