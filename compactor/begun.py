"""What a pass is doing, in `run/begun.json`: a process that is killed while it folds
raises no error that a round could count, so the next one counts it.

The note is removed when the pass ends, however it ends, and once the process is asked
to end. It is not synced, and a start of the host makes it void: a power cut is no fault
of a segment.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from types import FrameType

import msgspec

from compactor.fold.verify_segments import Piece
from compactor.stop import Stop
from compactor.tries import write_note
from shared.disk.boot import boot_id
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import SetAside


class Begun(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a process has begun since the host was started (`boot`): to fold pieces of
    `segments`, of so many `bytes`, or to merge a day, or retention (`is_retaining`).

    Of a single piece: its `start` and `size`, and the entry that is tried `again`.
    """

    boot: str
    segments: tuple[str, ...] = ()
    bytes: int = 0
    start: int = 0
    size: int | None = None
    again: SetAside | None = None
    merging: date | None = None
    is_retaining: bool = False


_DECODER = msgspec.json.Decoder(Begun)


@contextmanager
def begun(data: DataDirectory, chosen: Sequence[Piece], stop: Stop) -> Iterator[None]:
    """While the block runs, a note says that these pieces are folded."""
    if chosen and not stop.is_asked:
        stems = tuple(piece.segment.name.stem for piece in chosen)
        note = Begun(boot_id(), stems, sum(piece.plain_bytes for piece in chosen))
        if len(chosen) == 1:
            (one,) = chosen
            note = msgspec.structs.replace(note, start=one.start, size=one.size, again=one.again)
        write_note(data, data.begun, msgspec.json.encode(note))
    try:
        yield
    finally:
        forget_begun(data)


def note_merge(data: DataDirectory, day: date, stop: Stop) -> None:
    """From here on the pass merges a day; what it folds is folded."""
    if not stop.is_asked:
        write_note(data, data.begun, msgspec.json.encode(Begun(boot_id(), merging=day)))


def note_retention(data: DataDirectory, stop: Stop) -> None:
    """From here on the pass applies retention."""
    if not stop.is_asked:
        write_note(data, data.begun, msgspec.json.encode(Begun(boot_id(), is_retaining=True)))


def forget_begun(data: DataDirectory) -> None:
    data.begun.unlink(missing_ok=True)


def take_begun(data: DataDirectory) -> Begun | None:
    """What a process of this start of the host was killed at; None if none was. Removes
    the note. The caller holds the compactor's lock.
    """
    try:
        note = _DECODER.decode(data.begun.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    finally:
        forget_begun(data)
    return note if note.boot and note.boot == boot_id() else None


@contextmanager
def forgetting_at_sigterm(data: DataDirectory) -> Iterator[None]:
    """Where SIGTERM would end the process at once, it first removes the note."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        forget_begun(data)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
