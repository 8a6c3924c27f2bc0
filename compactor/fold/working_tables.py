"""The working tables of a fold, in DuckDB, and a handle for each.

A step that fills a table returns its handle, and the step that reads it takes the
handle: a step cannot be called before the one that it depends on. The tables are
temporary; working_tables.sql describes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from compactor.fold.verify_segments import VerifiedSegment
from compactor.sql import sql_file
from shared.generations.snapshot import SetAside
from shared.schema import INCOMING_COLUMNS

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class IncomingLines:
    """Table `incoming`: every valid line of these segments, repeats among them, but
    those that are `set_aside`.
    """

    segments: tuple[VerifiedSegment, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True)
class ArchivedMatches:
    """Table `archived_matches`: archived events with the id of a line of `incoming`.
    `conflicts` are those of another content.
    """

    rows: int = 0
    conflicts: int = 0


@dataclass(frozen=True)
class NewEvents:
    """View `new_events`: each new event once. Table `replaced_events`: archived events
    that one of them replaces.

    `new` and `replaced` are their numbers by UTC day. `duplicates` are lines that are
    not counted, `conflicts` those of them with another content.
    """

    new: dict[date, int] = field(default_factory=dict)
    replaced: dict[date, int] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0

    @property
    def counted(self) -> int:
        """How many more events are counted than before."""
        return sum(self.new.values()) - sum(self.replaced.values())

    @property
    def days(self) -> list[date]:
        return sorted({*self.new, *self.replaced})


@dataclass(frozen=True)
class NewCounters:
    """Table `new_counters`: the counters of all `new_events`, whatever their day."""


@dataclass(frozen=True)
class DayCounters:
    """Table `day_counters`: the counters of one day. `capped` are the dimensions of
    which rare values are counted under `(other)`.
    """

    capped: tuple[str, ...] = ()


def create_working_tables(database: duckdb.DuckDBPyConnection) -> None:
    """Create the tables, views and macros, empty. Once per fold."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in INCOMING_COLUMNS.items())
    database.execute(sql_file(__file__, "working_tables.sql", incoming_columns=columns))
