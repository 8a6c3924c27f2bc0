"""Yielding: events whose ids another host counts leave the counters and the archive,
and are kept in `yielded` parts with the claim that counts them, so that they can be
counted here should that claim end.
"""

from __future__ import annotations

from datetime import date

from msgspec.structs import replace

from compactor.claims.hashes import id_hashes_sql
from compactor.claims.outcome import read_outcome
from compactor.context import PassContext, pass_context
from compactor.fold.counters import count_new_events
from compactor.fold.dedupe import deduplicate_rows
from compactor.fold.load import load_events
from compactor.fold.referrer_spam import flag_referrer_spam
from compactor.fold.working_tables import NewEvents, create_working_tables
from compactor.generations.archive import OpenedPart, open_archive, stored_events
from compactor.generations.clustered import STORED_COLUMNS_SQL
from compactor.generations.commit import commit
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.generations.part_files import write_part
from compactor.generations.part_writer import write_day
from compactor.generations.tiers import parts_to_absorb
from compactor.lock import CompactorLock
from compactor.next_generation import next_generation
from compactor.sql import count_rows, run_script, sql_file, sql_list
from compactor.summary.summarize import with_summary
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import database_error
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Day, Snapshot
from shared.log import Log
from shared.schema import ARCHIVE_COLUMNS
from shared.settings import Settings
from shared.sql.archive_events import from_archive_sql, to_archive_sql
from shared.sql.parquet import parquet
from shared.sql.texts import TextNumbers

CLAIM_COLUMNS = ("hash", "winner", "winner_epoch", "winner_day")


def carry_out_claims(data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int) -> None:
    """Do what the last comparison of claims has left to do, each in a generation of its
    own. Raises PartDamaged and CommitLost.
    """
    if not data.claim_outcome.exists():
        return
    with pass_context(data, settings, log, lock, now_ms) as context:
        try:
            key = read_outcome(context.database, data)
        except database_error():
            data.claim_outcome.unlink()  # damaged: the next publish writes it again
            return
        for step in (_yield_lost, _count_again):
            before = load_or_restore_snapshot(data, log, lock)
            after = step(context, before, key)
            if after is not before:
                after = with_summary(context, before, after)
                commit(data, before, after, lock)
                prune_history(data, after)
                moved = before.totals.counted - after.totals.counted
                log.info("events_yielded", generation=after.generation, events=moved)
    data.claim_outcome.unlink(missing_ok=True)


def _yield_lost(context: PassContext, before: Snapshot, key: str) -> Snapshot:
    """The next generation without the events in `lost`; `before` if it has none."""
    create_working_tables(context.database, TextNumbers())
    replaced = _find_lost(context, before, key)
    if not replaced:
        return before
    events = NewEvents(replaced=replaced)
    return _next(context, before, events, {day: _write_yielded(context, before, day) for day in replaced})


def _days(context: PassContext, before: Snapshot, table: str) -> list[date]:
    found = context.database.execute(f"SELECT DISTINCT day FROM {table} ORDER BY day").fetchall()
    return [day for (day,) in found if day in before.days]


def _find_lost(context: PassContext, before: Snapshot, key: str) -> dict[date, dict[int, int]]:
    """Add the archived events that are lost to the tables of replaced events, and to
    `yielded_rows` with the claim. Returns their numbers by day and generation of part.
    """
    database, opened = context.database, open_archive(context.data, before, _days(context, before, "lost"))
    if not opened:
        return {}
    text = sql_file(
        __file__,
        "lost_rows.sql",
        hashes=id_hashes_sql(opened, "time", "filename", "file_row"),
        events=_events_with_place(opened),
        columns=", ".join(ARCHIVE_COLUMNS),
    )
    run_script(database, text, {"key": key})
    found: dict[date, dict[int, int]] = {}
    counted = "SELECT time::DATE, generation, count(*) FROM replaced_events GROUP BY ALL"
    for day, generation, events in database.execute(counted).fetchall():
        found.setdefault(day, {})[generation] = events
    return found


def _events_with_place(opened: list[OpenedPart]) -> str:
    """SQL of the events of archive parts, each with its file and its row."""
    return from_archive_sql(stored_events(opened, "filename", "file_row_number AS file_row"), "filename", "file_row")


def _next(context: PassContext, before: Snapshot, events: NewEvents, yielded: dict[date, Day]) -> Snapshot:
    """The next generation: what is counted changes by these events, and as many lines
    are duplicates, or are none any more.
    """
    base = replace(before, days={**before.days, **yielded})
    new = count_new_events(context, base, events)
    generation = before.generation + 1
    days = {day: write_day(context, base, day, events, new, generation) for day in events.days}
    totals = before.totals
    totals = replace(totals, counted=totals.counted + events.counted, duplicates=totals.duplicates - events.counted)
    return replace(next_generation(context, before), days={**base.days, **days}, totals=totals)


def _write_yielded(context: PassContext, before: Snapshot, day: date) -> Day:
    """Publish the yielded events of a day: the new ones, with those of parts that they
    absorb.
    """
    kept = before.days[day]
    new = f"(SELECT *, {', '.join(CLAIM_COLUMNS)} FROM yielded_rows WHERE time::DATE = DATE '{day}')"
    rows = count_rows(context.database, new)
    absorbed = parts_to_absorb(kept.yielded, rows)
    claims = ", ".join(CLAIM_COLUMNS)
    sources = [f"FROM {to_archive_sql(new, *CLAIM_COLUMNS)}"]
    if absorbed:
        paths = verified_parts(context.data, "yielded", day, absorbed)
        sources.append(f"SELECT {STORED_COLUMNS_SQL}, {claims} FROM {parquet(sql_list(paths))} e")
    rows += sum(part.rows for part in absorbed)
    part = write_part(context, "yielded", day, before.generation + 1, " UNION ALL ".join(sources), rows)
    others = (each for each in kept.yielded if each not in absorbed)
    return replace(kept, yielded=(*others, *([part] if part else [])))


def _count_again(context: PassContext, before: Snapshot, _key: str) -> Snapshot:
    """The next generation with the yielded events in `again`; `before` if it has
    none.
    """
    days = [day for day in _days(context, before, "again") if before.days[day].yielded]
    sources = [_yielded(context, before, day, "SEMI") for day in days]
    if not sources:
        return before
    events = from_archive_sql(f"({' UNION ALL '.join(sources)})")
    if not count_rows(context.database, events):
        return before
    incoming = load_events(context.database, events)
    flag_referrer_spam(context)
    counted = deduplicate_rows(context, before, incoming)
    return _next(context, before, counted, {day: _without_again(context, before, day) for day in days})


def _yielded(context: PassContext, before: Snapshot, day: date, join: str) -> str:
    """SQL of the yielded events of a day that are in `again` (SEMI) or are not
    (ANTI).
    """
    paths = sql_list(verified_parts(context.data, "yielded", day, before.days[day].yielded))
    again = f"(SELECT hash FROM again WHERE day = DATE '{day}')"
    return f"SELECT e.* FROM {parquet(paths)} e {join} JOIN {again} a USING (hash)"


def _without_again(context: PassContext, before: Snapshot, day: date) -> Day:
    left = _yielded(context, before, day, "ANTI")
    rows = count_rows(context.database, f"({left})")
    part = write_part(context, "yielded", day, before.generation + 1, left, rows)
    return replace(before.days[day], yielded=(part,) if part else ())
