"""A list of entries that people keep in one small JSON file, an entry a line.

Changes are made one at a time, under a lock, and published by rename: no reader sees a
half of one. A damaged file costs what is in it, and no more: an entry that is none is
not read, and stays in the file beside the others, as it stands.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec

from shared.disk.bounded_read import read_bounded
from shared.disk.durable import move, publish
from shared.disk.locks import held
from shared.exit_codes import TemporaryFailure, UsageError

FILE_MAX_BYTES = 1 << 20
LOOKED_AT_MAX = 1_000
LOCK_TIMEOUT_S = 5.0

# CONTROL_CHARS in the words of JSON Schema, too. $ of Python matches before a last \n.
NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$(?!\n)"

E = TypeVar("E", bound=msgspec.Struct)


class TooManyEntries(UsageError):
    """There are as many as there may be."""

    def __init__(self, most: int, what: str) -> None:
        super().__init__(most, what)
        self.most, self.what = most, what

    def __str__(self) -> str:
        return f"there are {self.most} {self.what}s already; delete one first"


class NoRoomForEntries(UsageError):
    """The file would become larger than it may be: entries that are not read stay in
    it.
    """

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return f"{self.file} is full of entries that are not read; `foldlog doctor` says where it is"


class EntriesBusy(TemporaryFailure):
    """Another process keeps the lock."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"another process has been changing {self.what}s for {LOCK_TIMEOUT_S:g} s; try again"


class Found(NamedTuple, Generic[E]):
    """What a file holds: entries, others as they stand, and what is wrong with it
    (empty: nothing).
    """

    entries: tuple[E, ...] = ()
    bad: tuple[msgspec.Raw, ...] = ()
    damage: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether not even its entries can be told apart."""
        return bool(self.damage) and not self.bad


# The file is the newest within the block, which gives the bytes of the next one to what
# it gets.
Changing = Callable[[], AbstractContextManager[Callable[[bytes], None]]]


@dataclass(frozen=True)
class Entries(Generic[E]):
    """What stands in a file, as bytes and as entries. `what`: what one of them is
    called. Of entries with one `key` the first is read, and `most` of each `kind`.
    """

    what: str
    decoder: msgspec.json.Decoder[E]
    key: Callable[[E], Hashable]
    kind: Callable[[E], str]
    most: int

    def parse(self, content: bytes) -> Found[E]:
        """What the bytes of a file hold. Raises nothing for what is wrong with them."""
        try:
            return self._sorted_out(_ENTRIES.decode(content))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Found(damage="is damaged")

    def merge(self, first: bytes, second: bytes) -> bytes:
        """A file with the entries of both; of one key that of the first. The first
        alone, where both have no room in a file.
        """
        ours, theirs = self.parse(first), self.parse(second)
        known = {self.key(each) for each in ours.entries}
        more = tuple(each for each in theirs.entries if self.key(each) not in known)
        bad = dict.fromkeys(map(bytes, (*ours.bad, *theirs.bad)))
        content = _content((*ours.entries, *more), tuple(map(msgspec.Raw, bad)))
        return content if len(content) <= FILE_MAX_BYTES else first

    def _sorted_out(self, raw: tuple[msgspec.Raw, ...]) -> Found[E]:
        found: dict[Hashable, E] = {}
        of_kind: Counter[str] = Counter()
        bad = []
        for number, each in enumerate(raw):
            entry = self._entry(each) if number < LOOKED_AT_MAX else None
            if entry is None or of_kind[self.kind(entry)] >= self.most or self.key(entry) in found:
                bad.append(msgspec.Raw(bytes(each)))
            else:
                found[self.key(entry)] = entry
                of_kind[self.kind(entry)] += 1
        damage = f"has {len(bad)} of {len(raw)} entries that are not read" if bad else ""
        return Found(tuple(found.values()), tuple(bad), damage)

    def _entry(self, raw: msgspec.Raw) -> E | None:
        try:
            return self.decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


@dataclass(frozen=True)
class KeptFile(Generic[E]):
    """`damaged`: where a damaged one is kept when another is begun."""

    path: Path
    lock_path: Path
    damaged: Callable[[str], Path]
    of: Entries[E]

    def read(self) -> Found[E]:
        """What the file holds. Raises nothing for what is wrong with it."""
        try:
            content = read_bounded(self.path, FILE_MAX_BYTES)
        except OSError as error:
            return Found(damage=f"cannot be read ({error.strerror or error})")
        return Found() if content is None else self.of.parse(content)

    def lock(self) -> AbstractContextManager[None]:
        """Held by each process that changes the file. Raises EntriesBusy."""
        return held(self.lock_path, LOCK_TIMEOUT_S, lambda: EntriesBusy(self.of.what))

    def set_aside(self) -> None:
        """Keep what stands in place of the file under another name."""
        if self.path.is_symlink() or self.path.exists():
            move(self.path, self.damaged(secrets.token_hex(4)))

    def put(self, entry: E, changing: Changing | None = None) -> bool:
        """Keep an entry in the place of one with its key. Whether there was one. A file
        that cannot be read is kept under another name. Raises TooManyEntries,
        NoRoomForEntries, EntriesBusy, and what `changing` raises: without it, the file
        is changed on this host alone.
        """
        kind = self.of.kind(entry)
        with self.lock(), (changing or self._changing_here)() as save:
            found = self.read()
            others = tuple(each for each in found.entries if self.of.key(each) != self.of.key(entry))
            if sum(self.of.kind(each) == kind for each in others) >= self.of.most:
                raise TooManyEntries(self.of.most, kind)
            if found.is_lost:
                self.set_aside()
            save(self._fitting((*others, entry), found.bad))
            return len(others) < len(found.entries)

    def delete(self, key: Hashable, changing: Changing | None = None) -> bool:
        """False if there is none with that key. Raises EntriesBusy, and what `changing`
        raises.
        """
        with self.lock(), (changing or self._changing_here)() as save:
            found = self.read()
            left = tuple(each for each in found.entries if self.of.key(each) != key)
            if len(left) == len(found.entries):
                return False
            save(self._fitting(left, found.bad))
            return True

    @contextmanager
    def _changing_here(self) -> Iterator[Callable[[bytes], None]]:
        yield partial(publish, self.path)

    def _fitting(self, entries: tuple[E, ...], bad: tuple[msgspec.Raw, ...]) -> bytes:
        content = _content(entries, bad)
        if len(content) > FILE_MAX_BYTES:
            raise NoRoomForEntries(self.path.name)
        return content


def _content(entries: Iterable[msgspec.Struct], bad: Iterable[msgspec.Raw]) -> bytes:
    lines = b",\n".join([*map(msgspec.json.encode, entries), *map(bytes, bad)])
    return b"[\n" + lines + b"\n]\n"


_ENTRIES = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
