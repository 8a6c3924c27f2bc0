"""Claiming: before a generation is published, each id in it is claimed for this
instance. What another instance claimed first, the next pass yields (P7).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from compactor.claims.claims_table import (
    ID_KEY,
    STORE_ID,
    LedgerRow,
    begin_epoch,
    claim,
    claiming,
    ledger,
    locked_ledger,
    pruned_before,
    register,
)
from compactor.claims.compare import find_again, find_lost, has_outcome, is_compared, note_compared, won, won_anew
from compactor.claims.hashes import id_hashes_sql
from compactor.claims.known_claims import fetch, new_name
from compactor.claims.note import StoreNote, place_of, read_note, with_outcome, write_note
from compactor.claims.outcome import write_outcome
from compactor.claims.standing import Standing, standing
from compactor.generations.archive import OpenedPart, open_parts
from compactor.sql import count_rows, run_script, sql_file, sql_list
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Day, Snapshot
from shared.sql.parquet import parquet
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.shared_values import shared_bytes

if TYPE_CHECKING:
    import duckdb
    from psycopg import Connection


class IdsClaimedElsewhere(TemporaryFailure):
    """`events` are counted by another host, or not any more: the next pass takes them
    out, or counts them, and then the generation can be published.
    """

    def __init__(self, events: int) -> None:
        super().__init__(events)
        self.events = events

    def __str__(self) -> str:
        return f"{self.events:,} ids are claimed by another host, or not any more; the next pass yields or counts them"


class Host(NamedTuple):
    """A data directory, a connection to its store, and a database with the claims that
    it knows (`open_known_claims`). `name`: how messages name the store. `absorbed`:
    instances whose events it has.
    """

    data: DataDirectory
    database: duckdb.DuckDBPyConnection
    connection: Connection
    instance: UUID
    name: str
    store: str
    key: str
    absorbed: tuple[UUID, ...] = ()


def open_host(
    data: DataDirectory, database: duckdb.DuckDBPyConnection, connection: Connection, instance: UUID, name: str
) -> Host:
    """A host of the store behind a connection."""
    store, key = (shared_bytes(connection, each).hex() for each in (STORE_ID, ID_KEY))
    return Host(data, database, connection, instance, name, store, key)


def place_in_store(host: Host, host_name: str, timezone: str) -> tuple[LedgerRow, StoreNote, Standing]:
    """Where this instance is: its row, added if there is none, the note of this
    directory, and what follows from both. Raises StoreRefused.
    """
    note = read_note(host.data, host.store)
    if host.instance not in ledger(host.connection):
        # A store that lost the row was restored: everything is claimed again.
        epoch = note.epoch if note == StoreNote(host.store) else note.epoch - 1
        register(host.connection, host.instance, host_name, timezone, epoch)
    row = ledger(host.connection)[host.instance]
    known = with_outcome(note, row)
    if known != note:
        note = write_note(host.data, known)
    found = standing(place_of(row), note.place)
    if found is Standing.REFUSED or row.is_retired:
        raise StoreRefused(host.name, _refusal(host, row))
    return row, note, found


def _refusal(host: Host, row: LedgerRow) -> str:
    if row.is_retired:
        return f"has retired this instance ({host.instance}): type `foldlog store new-instance` to begin as another one"
    return (
        f"holds generation {row.generation} of this instance ({host.instance}), and this directory has not published "
        "that: it was restored from a backup, or copied. If no other host continues that instance, stop `foldlog "
        "serve` here, and type `foldlog store restore`; else begin as another one with an empty directory, or type "
        "`foldlog store new-instance`"
    )


def claim_ids(host: Host, row: LedgerRow, note: StoreNote, found: Standing, newest: Snapshot) -> StoreNote:
    """Claim every id of a generation for this instance, or everything again in a new
    epoch. Returns the note with which it can be published. Raises IdsClaimedElsewhere,
    StoreUnavailable and PartDamaged.
    """
    renews = found is Standing.RENEW
    rows, pruned = ledger(host.connection), pruned_before(host.connection)
    host = host._replace(absorbed=tuple(each.instance for each in newest.absorbed_instances))
    _fetch(host, rows)
    _find_wanted(host, None if renews else note.claimed, newest, pruned)
    if renews:
        _read_yielded(host, newest, pruned)
        _want_again(host, newest, pruned)
    else:
        host.database.execute("DELETE FROM known.before")
    find_lost(host.database, host.instance)
    claims = renews or count_rows(host.database, "wanted") > 0
    if claims:
        note = _claim_wanted(host, row, note, renews=renews)
    # An idle host does not read what it has compared already.
    if not renews and (claims or not is_compared(host.database, newest)):
        _read_yielded(host, newest, pruned)
    return _with_claimed(host, note, newest, pruned, rows)


def _fetch(host: Host, rows: Mapping[UUID, LedgerRow]) -> int:
    """Learn what is claimed; returns as `fetch`. Claims of instances whose events this
    host has absorbed are its own, also until the store says so.
    """
    since = fetch(host.database, host.connection, host.store, rows, host.instance)
    if host.absorbed:
        own = "instance = $1::UUID, epoch_name = $2::UUID WHERE list_contains($3::UUID[], instance)"
        values = [host.instance, rows[host.instance].epoch_name, list(host.absorbed)]
        host.database.execute(f"UPDATE known.claims SET {own}", values)
    return since


def _find_wanted(
    host: Host, claimed: Mapping[date, Iterable[int]] | None, newest: Snapshot, pruned: date | None
) -> None:
    """Fill `wanted` with the ids of parts that are not known to be claimed, or with
    None of all parts. Of days whose claims are deleted nothing is claimed: no copy can
    come any more.
    """
    run_script(host.database, sql_file(__file__, "wanted.sql"))
    for day, kept in _kept_days(newest, pruned):
        known = claimed.get(day, ()) if claimed is not None else ()
        if new := [part for part in kept.archive if part.generation not in known]:
            opened = open_parts(host.data, "archive", day, new)
            _insert_wanted(host, day, opened, all_ids=claimed is None)


def _kept_days(newest: Snapshot, pruned: date | None) -> Iterator[tuple[date, Day]]:
    """The days whose claims are kept."""
    return ((day, kept) for day, kept in newest.days.items() if pruned is None or day >= pruned)


def _insert_wanted(host: Host, day: date, opened: Iterable[OpenedPart], *, all_ids: bool) -> None:
    """A new epoch releases what this instance has claimed, so that it wants it, too."""
    own = "SELECT hash FROM known.claims WHERE day = $day AND instance = $instance::UUID AND NOT $all_ids"
    host.database.execute(
        "INSERT INTO wanted SELECT DISTINCT $day::DATE, hash, head, false "
        f"FROM {id_hashes_sql(opened)} h ANTI JOIN ({own}) k USING (hash)",
        {"day": day, "instance": host.instance, "key": host.key, "all_ids": all_ids},
    )


def _read_yielded(host: Host, newest: Snapshot, pruned: date | None) -> None:
    """Fill `yielded` with what this host has yielded, of days whose claims are kept."""
    columns = "hash, winner, winner_epoch, winner_day"
    for day, kept in _kept_days(newest, pruned):
        if kept.yielded:
            paths = sql_list(verified_parts(host.data, "yielded", day, kept.yielded))
            sql = f"INSERT INTO yielded SELECT DISTINCT $1::DATE, {columns} FROM {parquet(paths)}"
            host.database.execute(sql, [day])


def _want_again(host: Host, newest: Snapshot, pruned: date | None) -> None:
    """Add to `wanted` what a new epoch claims besides the archive: what was yielded,
    and what the store may have lost of ids that were erased, or whose archive expired.
    """
    for day, kept in _kept_days(newest, pruned):
        if kept.yielded:
            _insert_wanted(host, day, open_parts(host.data, "yielded", day, kept.yielded), all_ids=True)
    before = "SELECT day, hash, NULL, true FROM known.before ANTI JOIN wanted USING (hash)"
    host.database.execute(f"INSERT INTO wanted {before} WHERE day >= $1", [pruned or date.min])


def _claim_wanted(host: Host, row: LedgerRow, note: StoreNote, *, renews: bool) -> StoreNote:
    """Under the lock: learn what others claimed since `lost` was filled, and claim the
    rest.
    """
    name = new_name()
    epoch = max(row.epoch, note.epoch) + renews
    note = write_note(host.data, replace(note, intended_epoch=epoch, intended_claims=name))
    with claiming(host.connection):
        rows = locked_ledger(host.connection, host.instance)
        row = rows[host.instance]
        if standing(place_of(row), note.place) is not (Standing.RENEW if renews else Standing.AS_NOTED):
            raise StoreUnavailable(host.name, "its ledger changed meanwhile")
        since = _fetch(host, rows)
        find_lost(host.database, host.instance, since)
        if renews:
            begin_epoch(host.connection, row, epoch, name, *won_anew(host.database, row))
        else:
            claim(host.connection, row, name, won(host.database))
    return write_note(host.data, with_outcome(note, ledger(host.connection)[host.instance]))


def _with_claimed(
    host: Host, note: StoreNote, newest: Snapshot, pruned: date | None, rows: Mapping[UUID, LedgerRow]
) -> StoreNote:
    """The note once all is claimed. Otherwise the outcome is left for the next pass.
    Raises IdsClaimedElsewhere.
    """
    find_again(host.database, newest, pruned, rows)
    if has_outcome(host.database):
        raise IdsClaimedElsewhere(write_outcome(host.database, host.data, host.key))
    host.data.claim_outcome.unlink(missing_ok=True)  # of a comparison before
    note_compared(host.database, newest)
    claimed = {
        day: tuple(part.generation for part in kept.archive) for day, kept in _kept_days(newest, pruned) if kept.archive
    }
    return note if claimed == note.claimed else write_note(host.data, replace(note, claimed=claimed))
