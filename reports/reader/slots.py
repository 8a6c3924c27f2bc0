"""How many questions are answered at once, over all workers of one `serve`
(FOLDLOG_MAX_READERS): each holds a slot, and the questions of one token hold all but
one of them at most.

A slot is a byte of the memory that all workers share, and held with a lock on it: the
kernel frees those of a worker that dies.
"""

from __future__ import annotations

import fcntl
import os
import struct

from shared.rate_table import OWNER_BYTES, SLOTS_MAX, SLOTS_START, is_table, make_table

_LOCK = struct.Struct("hhqqi")  # struct flock of Linux: type, whence, start, length, pid
_UNOWNED = bytes(OWNER_BYTES)


class ReaderSlots:
    """`descriptor` is the table of the supervisor; without it this worker counts
    alone.
    """

    def __init__(self, count: int, descriptor: int = -1) -> None:
        self.count = min(count, SLOTS_MAX)
        is_shared = is_table(descriptor)
        own = descriptor if is_shared else make_table()
        try:
            # Opened anew: a lock belongs to the open file, and workers inherit one.
            self._file = os.open(f"/proc/self/fd/{own}", os.O_RDWR | os.O_CLOEXEC)
        finally:
            if not is_shared:
                os.close(own)
        self._held: dict[int, bytes] = {}

    def __del__(self) -> None:
        if (file := getattr(self, "_file", -1)) >= 0:
            os.close(file)

    @property
    def held(self) -> int:
        """How many of them this worker holds."""
        return len(self._held)

    def take(self, owner: bytes) -> int | None:
        """A slot; None while all are held, or this owner may hold no other."""
        owner = owner[:OWNER_BYTES].ljust(OWNER_BYTES, b"\0")
        if owner != _UNOWNED and self._count_of(owner) >= self._share:
            return None
        for slot in range(self.count):
            if slot not in self._held and self._lock(slot):
                self._held[slot] = owner
                os.pwrite(self._file, owner, _place(slot))
                if owner != _UNOWNED and self._count_of(owner) > self._share:  # another worker took one meanwhile
                    self.give_back(slot)
                    return None
                return slot
        return None

    def give_back(self, slot: int) -> None:
        del self._held[slot]
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock(fcntl.F_UNLCK, slot))

    @property
    def _share(self) -> int:
        return max(1, self.count - 1)

    def _count_of(self, owner: bytes) -> int:
        return sum(self._owner_of(slot) == owner for slot in range(self.count))

    def _owner_of(self, slot: int) -> bytes | None:
        if slot in self._held:
            return self._held[slot]
        found = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _lock(fcntl.F_WRLCK, slot))
        if _LOCK.unpack(found)[0] == fcntl.F_UNLCK:
            return None
        return os.pread(self._file, OWNER_BYTES, _place(slot))

    def _lock(self, slot: int) -> bool:
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK, slot))
        except (BlockingIOError, PermissionError):
            return False
        return True


def _place(slot: int) -> int:
    return SLOTS_START + slot * OWNER_BYTES


def _lock(kind: int, slot: int) -> bytes:
    return _LOCK.pack(kind, os.SEEK_SET, _place(slot), 1, 0)
