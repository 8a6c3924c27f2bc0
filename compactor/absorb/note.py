"""Which instances this directory has begun to absorb, in `absorbing.json`, and of which
it cannot be told any more whether their events are here.

The snapshot says which are absorbed. One that a rebuild makes of whatever parts there
are does not: among these may be some with the events of another instance, which the
store counts as long as it has that instance. Then nothing is published until it is
absorbed once more, which adds what is missing.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot


class AbsorbNote(msgspec.Struct, frozen=True):
    """`unsure`: those of `begun` whose events may be in parts of this directory, all or
    some, although its snapshot does not name them.
    """

    begun: tuple[UUID, ...] = ()
    unsure: tuple[UUID, ...] = ()


_DECODER = msgspec.json.Decoder(AbsorbNote)


def read_absorb_note(data: DataDirectory) -> AbsorbNote:
    try:
        return _DECODER.decode(data.absorbing.read_bytes())
    except FileNotFoundError:
        return AbsorbNote()


def note_begun(data: DataDirectory, instance: UUID) -> None:
    """From now on parts may have its events."""
    note = read_absorb_note(data)
    if instance not in note.begun:
        _write(data, AbsorbNote((*note.begun, instance), note.unsure))


def note_guessed(data: DataDirectory, after: Snapshot) -> None:
    """The next generation has parts that no snapshot has referenced, or lacks what one
    said.
    """
    note = read_absorb_note(data)
    if unsure := unnamed(after, note.begun):
        _write(data, AbsorbNote(note.begun, unsure))


def unnamed(snapshot: Snapshot, instances: tuple[UUID, ...]) -> tuple[UUID, ...]:
    """Those that a snapshot does not say to be absorbed."""
    named = {each.instance for each in snapshot.absorbed_instances}
    return tuple(each for each in instances if each not in named)


def _write(data: DataDirectory, note: AbsorbNote) -> None:
    publish(data.absorbing, msgspec.json.encode(note) + b"\n")
