"""Lines that are set aside: they could not be folded, so the ledger passes them, and
they are not counted. They stay in the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from compactor.fold.verify_segments import Piece, VerifiedSegment, extent_of
from compactor.fold.working_tables import IncomingLines, NewEvents
from compactor.sql import count_rows
from shared.generations.snapshot import SetAside, Snapshot, Totals

if TYPE_CHECKING:
    import duckdb


@cache
def build() -> str:
    """The installed version. An entry of another one is tried again."""
    from importlib.metadata import version  # here, because it takes as long as a pass without events

    return version("foldlog")


def entry_of(piece: Piece, lines: int, size: int) -> SetAside:
    """The entry of the ledger for all lines of a piece."""
    return SetAside(piece.segment.name.stem, None, lines, size, piece.reason, piece.tries, piece.start, build())


def leave_out_days(database: duckdb.DuckDBPyConnection, incoming: IncomingLines) -> IncomingLines:
    """Delete from `incoming` the days that its one piece is to be folded without. Of an
    entry of one day that is tried again, delete all other days.
    """
    segments: list[VerifiedSegment] = []
    entries: list[SetAside] = []
    for each in incoming.segments:
        if each.again and each.again.day:
            segments.append(_only_its_day(database, each, each.again))
            continue
        segments.append(each)
        if each.piece and each.piece.without:
            entries += _without_days(database, each.piece)
    return replace(incoming, segments=tuple(segments), set_aside=tuple(entries))


def _only_its_day(database: duckdb.DuckDBPyConnection, each: VerifiedSegment, entry: SetAside) -> VerifiedSegment:
    """Bad lines were quarantined, and counted, with the first try."""
    database.execute("DELETE FROM incoming WHERE time::DATE <> $1", [entry.day])
    return replace(each, lines=count_rows(database, "incoming"), bad=(), damaged=False)


def _without_days(database: duckdb.DuckDBPyConnection, piece: Piece) -> list[SetAside]:
    days = sorted(piece.without)
    is_left_out = "list_contains($1::DATE[], time::DATE)"
    counts = f"SELECT time::DATE, count(*) FROM incoming WHERE {is_left_out} GROUP BY ALL ORDER BY ALL"
    found = database.execute(counts, [days]).fetchall()
    database.execute(f"DELETE FROM incoming WHERE {is_left_out}", [days])
    whole = entry_of(piece, 0, extent_of(piece).bytes) if found else None
    return [msgspec.structs.replace(whole, day=day, lines=lines) for day, lines in found if whole]


def entries_after(before: Snapshot, incoming: IncomingLines) -> tuple[SetAside, ...]:
    """The entries of the ledger once these lines are folded."""
    tried = [each.again for each in incoming.segments if each.again]
    kept = [entry for entry in before.set_aside if entry not in tried]
    return merged((*kept, *incoming.set_aside))


def totals_after(old: Totals, incoming: IncomingLines, events: NewEvents) -> Totals:
    """The totals once these lines are folded; they still add up (P8)."""
    segments = incoming.segments
    read = sum(each.lines + each.quarantined for each in segments)
    set_aside = sum(entry.lines for entry in incoming.set_aside)
    # The lines of an entry that is tried again are in the totals already. An erasure
    # may have taken some of them, or have moved its end, so that neighbours are read
    # again, which are duplicates.
    known = sum(each.again.lines for each in segments if each.again)
    again = known > 0
    return msgspec.structs.replace(
        old,
        lines=old.lines + (0 if again else read),
        counted=old.counted + events.counted,
        duplicates=old.duplicates + events.duplicates - (max(0, read - known) if again else 0),
        conflicts=old.conflicts + events.conflicts,
        quarantined=old.quarantined + sum(each.quarantined for each in segments),
        damaged_segments=old.damaged_segments + sum(each.damaged and not each.again for each in segments),
        erased=old.erased + (max(0, known - read) if again else 0),
        set_aside=old.set_aside + set_aside - known,
    )


def merged(entries: Sequence[SetAside]) -> tuple[SetAside, ...]:
    """Entries in the order of the log, with those of neighbouring pieces as one."""
    result: list[SetAside] = []
    for entry in sorted(entries, key=lambda entry: (entry.segment, str(entry.day), entry.start)):
        last = result[-1] if result else None
        if last is not None and _is_next(last, entry):
            lines, size, tries = last.lines + entry.lines, last.bytes + entry.bytes, max(last.tries, entry.tries)
            result[-1] = msgspec.structs.replace(last, lines=lines, bytes=size, tries=tries)
        else:
            result.append(entry)
    return tuple(result)


def _is_next(one: SetAside, other: SetAside) -> bool:
    same = (one.segment, one.day, one.reason, one.version) == (other.segment, other.day, other.reason, other.version)
    return same and one.start + one.bytes == other.start
