"""The events of an export in pieces that are sorted one after the other, where a sort
of all of them would not fit into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from reports.plan import EventsRead
from reports.sql.duckdb.statements import exported
from reports.sql.statement import Parameters, Statement
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.memory import row_bytes_sql
from shared.sql.parquet import parquet

_COLUMNS = ", ".join(ARCHIVE_COLUMNS)
_BYTES = row_bytes_sql(ARCHIVE_COLUMNS)


class Place(NamedTuple):
    """Where an event stands in an export."""

    time: datetime
    site: str
    id: str


def size_statement(read: EventsRead) -> Statement:
    """How many bytes the events of an export take in memory."""
    bound = Parameters()
    return Statement(f"SELECT coalesce(sum({_BYTES}), 0)::BIGINT FROM {exported(read, bound)}", bound)


def ends_statement(read: EventsRead, piece_bytes: int) -> Statement:
    """The last place of each piece of about so many bytes, in order."""
    bound = Parameters()
    bound.value("piece_bytes", piece_bytes)
    text = resources.files(__package__).joinpath("piece_ends.sql").read_text("utf-8")
    return Statement(text.replace("{bytes}", _BYTES).replace("{events}", exported(read, bound)), bound)


def piece_statement(read: EventsRead, after: Place | None, last: Place) -> Statement:
    """The events behind one place up to another, in order."""
    bound = Parameters()
    conditions = [_beside("<", "last", last, bound, itself=True)]
    if after is not None:
        conditions.append(_beside(">", "after", after, bound))
    events = f"SELECT {_COLUMNS} FROM {exported(read, bound)} WHERE {' AND '.join(conditions)}"
    return Statement(f"{events} ORDER BY time, site, id", bound)


def pieces_statement(pieces: Sequence[Path]) -> Statement:
    """The events of files that have them in order."""
    bound = Parameters()
    files = bound.value("pieces", [str(path) for path in pieces])
    return Statement(f"SELECT {_COLUMNS} FROM {parquet(files)}", bound)


def _beside(side: str, name: str, place: Place, bound: Parameters, *, itself: bool = False) -> str:
    """SQL of whether an event stands before (<) or behind (>) a place, or there
    itself. The time alone lets row groups be skipped.
    """
    time, site, id_ = (bound.value(f"{name}_{field}", getattr(place, field)) for field in Place._fields)
    of_site = f"site {side} {site} OR (site = {site} AND id {side}{'=' if itself else ''} {id_})"
    return f"time {side}= {time} AND (time {side} {time} OR (time = {time} AND ({of_site})))"
