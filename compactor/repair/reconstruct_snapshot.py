"""What is known when no snapshot is whole any more: the parts that can be read, and the
log. For `foldlog rebuild` only.

Parts that a pass replaced lie beside those that took their place, so an event may be in
several of them; the rebuild counts one copy of each. No sha256 vouches for these parts:
what can be read of them is believed, and that is said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import msgspec

from compactor.context import PassContext
from compactor.generations.commit import quarantine_file, unused_generation
from shared.disk.layout import DataDirectory, parse_day, parse_part
from shared.duckdb_engine import one_number
from shared.generations.counter_schema import OTHER, TOTAL
from shared.generations.snapshot import Day, Part, Retention, Snapshot, Totals
from shared.schema import COUNTED_DIMENSIONS
from shared.segments.sealed import sealed_segments
from shared.timestamps import rfc3339


def adopt(context: PassContext, *, dry_run: bool) -> Snapshot:
    """A snapshot of all parts that can be read, as if every sealed segment were folded.
    Parts that cannot be are set aside.
    """
    data, log, days = context.data, context.log, dict[date, Day]()
    for kind in ("archive", "counters"):
        for day, path, generation in sorted(_parts_on_disk(data, kind)):
            part = read_part(context.database, path, generation)
            if part is None:
                log.warning(
                    "part_damaged", part=str(path), reason="it cannot be read", action="what it held comes from the log"
                )
                if not dry_run:
                    quarantine_file(data, path, f"{kind}-{day}-{path.name}")
                continue
            written_at = rfc3339(
                int(path.stat().st_mtime * 1000)
            )  # as near as can be known: retention counts from here
            kept = days.get(day, Day(written_at))
            kept = msgspec.structs.replace(kept, added_at=max(kept.added_at, written_at))
            days[day] = with_part(context, day, kept, kind, part)
    folded, waiting = _ledger(data)
    # No snapshot says what time it was before: whether the clock is right has to show,
    # before anything is deleted (P9). Nor does any say when retention last succeeded:
    # that is asked from now on.
    now = context.now
    return Snapshot(
        generation=unused_generation(data) - 1,
        as_of=now,
        folded=folded,
        waiting=waiting,
        days=days,
        retention=Retention(doubted_since=now, succeeded_at=now),
    )


def _parts_on_disk(data: DataDirectory, kind: str) -> Iterator[tuple[date, Path, int]]:
    for path in (data.root / kind).glob("*/*.parquet"):
        day, generation = parse_day(path.parent.name), parse_part(path.name)
        if day is not None and generation is not None:
            yield day, path, generation


def read_part(database: duckdb.DuckDBPyConnection, path: Path, generation: int) -> Part | None:
    """A part as a snapshot would name it, or None where it cannot be read."""
    try:  # every value, not the footer alone
        rows = one_number(database, "SELECT count(hash(p)) FROM read_parquet($1) p", [str(path)])
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error:
        return None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(generation, rows, path.stat().st_size, sha256)


def with_part(context: PassContext, day: date, kept: Day, kind: str, part: Part) -> Day:
    """The day with one part more. Counters come in order: the newest stays. Without an
    archive they are all there is.
    """
    if kind == "archive":
        return msgspec.structs.replace(kept, archive=(*kept.archive, part))
    if kept.archive:
        return msgspec.structs.replace(kept, counters=part)
    database, path = context.database, str(context.data.part("counters", day, part.generation))
    zone = context.settings.timezone if _has(database, path, "visitors IS NOT NULL") else None
    capped = [
        name for name in COUNTED_DIMENSIONS if _has(database, path, f"dimension = '{name}' AND value = '{OTHER}'")
    ]
    capped += [
        name for name in ("event", "site") if _has(database, path, f"dimension = '{TOTAL}' AND {name} = '{OTHER}'")
    ]
    return msgspec.structs.replace(kept, counters=part, expired=True, capped=tuple(capped), visitor_zone=zone)


def _has(database: duckdb.DuckDBPyConnection, path: str, where: str) -> bool:
    return bool(database.execute(f"SELECT 1 FROM read_parquet($1) WHERE {where} LIMIT 1", [path]).fetchall())


def _ledger(data: DataDirectory) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Every segment on disk counts as folded. Numbers below the first are retention's;
    a gap above it is waited for.
    """
    numbers: dict[str, list[int]] = {}
    for segment in sealed_segments(data):
        numbers.setdefault(segment.name.writer, []).append(segment.name.sequence)
    gaps = {writer: tuple(sorted(set(range(min(found), max(found))) - set(found))) for writer, found in numbers.items()}
    return {writer: max(found) for writer, found in numbers.items()}, {
        writer: gap for writer, gap in gaps.items() if gap
    }


def adopted_totals(context: PassContext, days: dict[date, Day], refolded: Totals) -> Totals:
    """The totals of a snapshot of adopted parts: what is counted, and of the rest what
    the retained log still tells.
    """
    counted = sum(part.rows for kept in days.values() for part in kept.archive)
    for day, kept in days.items():
        if kept.expired and kept.counters is not None:
            counted += events_counted(context.database, context.data.part("counters", day, kept.counters.generation))
    lines = counted + refolded.duplicates + refolded.quarantined
    return msgspec.structs.replace(refolded, lines=lines, counted=counted)


def events_counted(database: duckdb.DuckDBPyConnection, counters: Path) -> int:
    """How many events the counters of a day count."""
    sql = f"SELECT coalesce(sum(events), 0)::BIGINT FROM read_parquet($1) WHERE dimension = '{TOTAL}'"
    return one_number(database, sql, [str(counters)])
