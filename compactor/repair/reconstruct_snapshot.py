"""A snapshot reconstructed from the parts and the log, for a directory in which no
snapshot is valid. For `foldlog rebuild` only.

Replaced parts may still be on disk beside their replacements, so an event may be in
several of them; the rebuild counts one copy of each. No sha256 protects these parts:
every part that can be read is used, and the rebuild warns about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import duckdb
import msgspec

from compactor.context import PassContext
from compactor.generations.commit import quarantine_file, unused_generation
from compactor.generations.counter_parts import total_events
from compactor.generations.day_note import quarter_dimensions, read_note
from shared.disk.layout import DataDirectory, parse_day, parse_part
from shared.duckdb_engine import one_number
from shared.generations.counter_schema import OTHER, TOTAL
from shared.generations.snapshot import Day, Part, Retention, Snapshot, Totals
from shared.schema import COUNTED_DIMENSIONS
from shared.segments.sealed import sealed_segments
from shared.timestamps import rfc3339


def reconstruct_snapshot(context: PassContext, *, dry_run: bool) -> Snapshot:
    """A snapshot of all readable parts, as if every sealed segment were folded.
    Unreadable parts are quarantined, unless `dry_run`.
    """
    folded, missing = _ledger(context.data)
    # The last commit's time is unknown, so the clock counts as suspect: nothing is
    # deleted until it has been steady (P9). The last success of retention is unknown
    # too, and is measured from now on.
    return Snapshot(
        generation=unused_generation(context.data) - 1,
        as_of=context.now,
        folded=folded,
        missing=missing,
        days=_readable_days(context, dry_run=dry_run),
        retention=Retention(clock_suspect_since=context.now, succeeded_at=context.now),
    )


def _readable_days(context: PassContext, *, dry_run: bool) -> dict[date, Day]:
    days: dict[date, Day] = {}
    counters: dict[date, list[Part]] = {}
    for kind in ("archive", "counters"):
        for day, path, generation in sorted(_parts_on_disk(context.data, kind)):
            part = read_part(context.database, path, generation)
            if part is None:
                action = "none: the rebuild restores its events from the log"
                context.log.warning("part_damaged", part=str(path), reason="it cannot be read", action=action)
                if not dry_run:
                    quarantine_file(context.data, path, f"{kind}-{day}-{path.name}")
                continue
            # The best known time of the last fold into the day, from which retention
            # measures its age.
            written_at = rfc3339(int(path.stat().st_mtime * 1000))
            kept = days.get(day, Day(written_at))
            kept = msgspec.structs.replace(kept, added_at=max(kept.added_at, written_at))
            if kind == "archive":
                kept = msgspec.structs.replace(kept, archive=(*kept.archive, part))
            else:
                counters.setdefault(day, []).append(part)
            days[day] = kept
    return days | {day: with_counters(context, day, days[day], parts) for day, parts in counters.items()}


def _parts_on_disk(data: DataDirectory, kind: str) -> Iterator[tuple[date, Path, int]]:
    for path in (data.root / kind).glob("*/*.parquet"):
        day, generation = parse_day(path.parent.name), parse_part(path.name)
        if day is not None and generation is not None:
            yield day, path, generation


def read_part(database: duckdb.DuckDBPyConnection, path: Path, generation: int) -> Part | None:
    """A part as a snapshot would reference it, or None if it cannot be read."""
    try:  # hash() reads every value, count(*) alone only the footer
        rows = one_number(
            database, "SELECT count(hash(p)) FROM read_parquet($1, hive_partitioning = false) p", [str(path)]
        )
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error:
        return None
    # A part of version 1 has no such note.
    noted = "SELECT max(decode(value)::INTEGER) FROM parquet_kv_metadata($1) WHERE decode(key) = 'version'"
    version = one_number(database, noted, [str(path)]) or 1
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(generation, rows, path.stat().st_size, sha256, version)


def with_counters(context: PassContext, day: date, kept: Day, parts: Sequence[Part]) -> Day:
    """The day with those of its readable counters parts that the newest names. It is
    expired if that says so, or if it has no archive: later events have one.
    """
    newest = max(part.generation for part in parts)
    paths = {part.generation: context.data.part("counters", day, part.generation) for part in parts}
    note = read_note(context.database, paths[newest], newest)
    chosen = tuple(part for part in parts if part.generation in note.parts)
    if kept.archive and not note.expired:
        return msgspec.structs.replace(kept, counters=chosen)
    has_visitors = any(_has_rows(context.database, paths[part.generation], "visitors IS NOT NULL") for part in chosen)
    has_note = all(part.version > 1 for part in chosen)
    return msgspec.structs.replace(
        kept,
        counters=chosen,
        quarters=quarter_dimensions(context.database, [(part, paths[part.generation]) for part in chosen]),
        zone=note.zone,
        uncounted=note.uncounted,
        expired=True,
        capped=note.capped if has_note else _capped_dimensions(context.database, paths[newest]),
        visitor_zone=context.settings.timezone if has_visitors else None,
    )


def _capped_dimensions(database: duckdb.DuckDBPyConnection, counters: Path) -> tuple[str, ...]:
    """The dimensions of which some values are counted under `(other)`."""
    conditions = {name: f"dimension = '{name}' AND value = '{OTHER}'" for name in COUNTED_DIMENSIONS}
    conditions |= {name: f"dimension = '{TOTAL}' AND {name} = '{OTHER}'" for name in ("event", "site")}
    return tuple(name for name, where in conditions.items() if _has_rows(database, counters, where))


def _has_rows(database: duckdb.DuckDBPyConnection, path: Path, where: str) -> bool:
    return bool(
        database.execute(
            f"SELECT 1 FROM read_parquet($1, hive_partitioning = false) WHERE {where} LIMIT 1", [str(path)]
        ).fetchall()
    )


def _ledger(data: DataDirectory) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Every segment on disk counts as folded. Numbers below a writer's first segment
    were deleted by retention; gaps above it are waited for.
    """
    numbers: dict[str, list[int]] = {}
    for segment in sealed_segments(data):
        numbers.setdefault(segment.name.writer, []).append(segment.name.sequence)
    gaps = {writer: tuple(sorted(set(range(min(found), max(found))) - set(found))) for writer, found in numbers.items()}
    highest = {writer: max(found) for writer, found in numbers.items()}
    return highest, {writer: gap for writer, gap in gaps.items() if gap}


def reconstructed_totals(context: PassContext, days: Mapping[date, Day], replayed: Totals) -> Totals:
    """The totals of a reconstructed snapshot: `counted` from its parts, the rest from
    the replay of the retained log.
    """
    counted = sum(part.rows for kept in days.values() for part in kept.archive)
    for day, kept in days.items():
        if kept.expired:
            counters = [(part, context.data.part("counters", day, part.generation)) for part in kept.counters]
            counted += total_events(context.database, counters)
    lines = counted + replayed.duplicates + replayed.quarantined + replayed.set_aside
    return msgspec.structs.replace(replayed, lines=lines, counted=counted)
