"""What a data directory has noted of its store: what it has published and claimed, and
what it was about to.

An intent is noted before its transaction commits and the outcome after it, so that a
lost answer is told from a store, or a directory, that was restored.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

import msgspec

from compactor.claims.claims_table import NIL, LedgerRow
from compactor.claims.standing import Place
from shared.disk.durable import publish
from shared.disk.layout import DataDirectory


class StoreNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """`store`: the id of the store that this is about. `claimed`: by UTC day,
    generations of archive parts of which every id is claimed. `event_key`: a digest of
    the key of the hashes by which a store tells events apart.
    """

    store: str = ""
    epoch: int = 1
    epoch_name: UUID = NIL
    claims: UUID = NIL
    generation: int = 0
    sha256: str = ""
    intended_generation: int = 0
    intended_sha256: str = ""
    intended_epoch: int = 0
    intended_claims: UUID = NIL
    claimed: dict[date, tuple[int, ...]] = {}
    event_key: str = ""

    @property
    def place(self) -> Place:
        return Place(self.epoch, self.epoch_name, (self.generation, self.sha256), self.claims)


_DECODER = msgspec.json.Decoder(StoreNote)


def read_note(data: DataDirectory, store: str) -> StoreNote:
    """The note about this store; an empty one if there is none."""
    try:
        note = _DECODER.decode(data.store_note.read_bytes())
    except FileNotFoundError:
        return StoreNote(store)
    return note if note.store == store else StoreNote(store)


def write_note(data: DataDirectory, note: StoreNote) -> StoreNote:
    publish(data.store_note, msgspec.json.encode(note) + b"\n")
    return note


def with_outcome(note: StoreNote, row: LedgerRow) -> StoreNote:
    """The note, once it says what became of a transaction whose answer was lost."""
    replace = msgspec.structs.replace
    if note.intended_claims != NIL and (row.epoch, row.claims) == (note.intended_epoch, note.intended_claims):
        if row.epoch_name != note.epoch_name:  # a new epoch begins with what the store holds
            note = replace(note, generation=row.generation, sha256=row.sha256, claimed={})
        note = replace(
            note, epoch=row.epoch, epoch_name=row.epoch_name, claims=row.claims, intended_epoch=0, intended_claims=NIL
        )
    is_published = (row.generation, row.sha256) == (note.intended_generation, note.intended_sha256)
    if note.intended_sha256 and row.epoch == note.epoch and is_published:
        note = replace(note, generation=row.generation, sha256=row.sha256, intended_generation=0, intended_sha256="")
    return note


def place_of(row: LedgerRow) -> Place:
    return Place(row.epoch, row.epoch_name, (row.generation, row.sha256), row.claims)
