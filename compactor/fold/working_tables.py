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
from shared.generations.snapshot import Part, SetAside
from shared.schema import ARCHIVE_COLUMNS, INCOMING_COLUMNS
from shared.sql.texts import TextNumbers

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
    """Table `archived_matches`: pairs of a line of `incoming` and an archived event
    with its id.
    """

    rows: int = 0


@dataclass(frozen=True)
class NewEvents:
    """View `new_events`: each new event once. Table `replaced_events`: archived events
    that one of them replaces.

    `new` and `replaced` are their numbers by UTC day, `replaced` for each generation of
    an archive part; `indexed` are new ones whose ids clients made. `duplicates` are
    lines that are not counted, `conflicts` those of them with another content.
    `made_ids`: indexes of ids that had to be made.
    """

    new: dict[date, int] = field(default_factory=dict)
    replaced: dict[date, dict[int, int]] = field(default_factory=dict)
    indexed: dict[date, int] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0
    made_ids: dict[date, list[Part]] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        """How many more events are counted than before."""
        return sum(self.new.values()) - sum(sum(each.values()) for each in self.replaced.values())

    @property
    def days(self) -> list[date]:
        return sorted({*self.new, *self.replaced})


@dataclass(frozen=True)
class NewCounters:
    """Table `new_counters`: what the new events of all days add to the counters, with
    the `day` of each row.

    `rows`: how many, by day. `too_many`: dimensions of which a day has too many rows;
    they have none here. `capped`: those of a day whose archive has expired; what is new
    is `(other)`.
    """

    rows: dict[date, int] = field(default_factory=dict)
    too_many: dict[date, tuple[str, ...]] = field(default_factory=dict)
    capped: dict[date, tuple[str, ...]] = field(default_factory=dict)


def create_working_tables(database: duckdb.DuckDBPyConnection, numbers: TextNumbers) -> None:
    """Create the tables, views and macros, empty. Once per fold."""
    text = sql_file(
        __file__,
        "working_tables.sql",
        incoming_columns=_columns(INCOMING_COLUMNS),
        archive_columns=_columns(ARCHIVE_COLUMNS),
        number=numbers.type,
    )
    database.execute(text)


def _columns(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {type_}" for name, type_ in columns.items())
