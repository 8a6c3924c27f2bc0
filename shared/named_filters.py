"""Goals and saved filters in goals.json: filters of reports under a name that people
keep. A goal may have a value.

Changes are made one at a time, under a lock, and published by rename: no reader sees a
half of one. A damaged file costs what is in it, and no more: an entry that is none is
not read, and stays in the file beside the others, as it stands.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from shared.disk.bounded_read import read_bounded
from shared.disk.durable import move, publish
from shared.disk.layout import DataDirectory
from shared.disk.locks import held
from shared.exit_codes import TemporaryFailure, UsageError

Kind = Literal["goal", "filter"]
# A report asks about all goals in one statement, which has a bit for each.
ENTRIES_MAX = 100
NAME_MAX = 100
FILTER_MAX = 1_000
VALUE_MAX = 1e12
# Both kinds of these lengths take less. A file is read no further.
FILE_MAX_BYTES = 1 << 20
LOOKED_AT_MAX = 1_000
LOCK_TIMEOUT_S = 5.0

# CONTROL_CHARS in the words of JSON Schema, too. $ of Python matches before a last \n.
_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$(?!\n)"
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX, pattern=_NO_CONTROLS)]
Filter = Annotated[str, Meta(min_length=1, max_length=FILTER_MAX, pattern=_NO_CONTROLS)]
Value = Annotated[float, Meta(ge=-VALUE_MAX, le=VALUE_MAX)]


class NamedFilter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A filter of reports under a name. `value`: what one event of a goal is worth;
    None: what the event says.
    """

    kind: Kind
    name: Name
    filter: Filter
    value: Value | None = None


class NamedFiltersFile(NamedTuple):
    """What goals.json holds: entries, others as they stand, and what is wrong with it
    (empty: nothing).
    """

    entries: tuple[NamedFilter, ...] = ()
    bad: tuple[msgspec.Raw, ...] = ()
    damage: str = ""

    def of(self, kind: Kind) -> tuple[NamedFilter, ...]:
        return tuple(each for each in self.entries if each.kind == kind)

    @property
    def is_lost(self) -> bool:
        """Whether not even its entries can be told apart."""
        return bool(self.damage) and not self.bad


class TooManyFilters(UsageError):
    """There are ENTRIES_MAX of a kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind

    def __str__(self) -> str:
        return f"there are {ENTRIES_MAX} {self.kind}s already; delete one first"


class NoRoomForFilters(UsageError):
    """goals.json would become larger than it may be: entries that are not read stay in
    it.
    """

    def __str__(self) -> str:
        return "goals.json is full of entries that are not read; `foldlog doctor` says where it is"


class NamedFiltersBusy(TemporaryFailure):
    """Another process keeps the lock."""

    def __str__(self) -> str:
        return f"another process has been changing goals for {LOCK_TIMEOUT_S:g} s; try again"


_ENTRY = msgspec.json.Decoder(NamedFilter)
_ENTRIES = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


def read_named_filters(data: DataDirectory) -> NamedFiltersFile:
    """What goals.json holds. Raises nothing for what is wrong with it."""
    try:
        content = read_bounded(data.goals, FILE_MAX_BYTES)
    except OSError as error:
        return NamedFiltersFile(damage=f"cannot be read ({error.strerror or error})")
    return parse_named_filters(content) if content is not None else NamedFiltersFile()


def parse_named_filters(content: bytes) -> NamedFiltersFile:
    """What the bytes of a goals.json hold. Raises nothing for what is wrong with
    them.
    """
    try:
        return _sorted_out(_ENTRIES.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NamedFiltersFile(damage="is damaged")


def merge_named_filters(first: bytes, second: bytes) -> bytes:
    """A goals.json with the entries of both; of one name that of the first. The first
    alone, where both have no room in a file.
    """
    ours, theirs = parse_named_filters(first), parse_named_filters(second)
    known = {(each.kind, each.name) for each in ours.entries}
    more = tuple(each for each in theirs.entries if (each.kind, each.name) not in known)
    bad = dict.fromkeys(map(bytes, (*ours.bad, *theirs.bad)))
    content = _content((*ours.entries, *more), tuple(map(msgspec.Raw, bad)))
    return content if len(content) <= FILE_MAX_BYTES else first


def _sorted_out(raw: tuple[msgspec.Raw, ...]) -> NamedFiltersFile:
    """Of entries with one name the first is read, and ENTRIES_MAX of each kind."""
    found: dict[tuple[Kind, str], NamedFilter] = {}
    of_kind: Counter[Kind] = Counter()
    bad = []
    for number, each in enumerate(raw):
        entry = _entry(each) if number < LOOKED_AT_MAX else None
        if entry is None or of_kind[entry.kind] >= ENTRIES_MAX or (entry.kind, entry.name) in found:
            bad.append(msgspec.Raw(bytes(each)))
        else:
            found[entry.kind, entry.name] = entry
            of_kind[entry.kind] += 1
    damage = f"has {len(bad)} of {len(raw)} entries that are not read" if bad else ""
    return NamedFiltersFile(tuple(found.values()), tuple(bad), damage)


def _entry(raw: msgspec.Raw) -> NamedFilter | None:
    try:
        return _ENTRY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# The file is the newest within the block, which gives the bytes of the next one to what
# it gets.
Changing = Callable[[], AbstractContextManager[Callable[[bytes], None]]]


def named_filters_lock(data: DataDirectory) -> AbstractContextManager[None]:
    """Held by each process that changes the file. Raises NamedFiltersBusy."""
    return held(data.goals_lock, LOCK_TIMEOUT_S, NamedFiltersBusy)


def set_named_filters_aside(data: DataDirectory) -> None:
    """Keep what stands in place of the file under another name."""
    if data.goals.is_symlink() or data.goals.exists():
        move(data.goals, data.damaged_goals(secrets.token_hex(4)))


def put_named_filter(data: DataDirectory, entry: NamedFilter, changing: Changing | None = None) -> bool:
    """Keep an entry in the place of one with its name. Whether there was one. A file
    that cannot be read is kept under another name. Raises TooManyFilters,
    NoRoomForFilters, NamedFiltersBusy, and what `changing` raises: without it, the
    file is changed on this host alone.
    """
    with named_filters_lock(data), (changing or _changing_here(data))() as save:
        found = read_named_filters(data)
        others = tuple(each for each in found.entries if (each.kind, each.name) != (entry.kind, entry.name))
        if sum(each.kind == entry.kind for each in others) >= ENTRIES_MAX:
            raise TooManyFilters(entry.kind)
        if found.is_lost:
            set_named_filters_aside(data)
        save(_fitting((*others, entry), found.bad))
        return len(others) < len(found.entries)


def delete_named_filter(data: DataDirectory, kind: Kind, name: str, changing: Changing | None = None) -> bool:
    """False if there is none with that name. Raises NamedFiltersBusy, and what
    `changing` raises.
    """
    with named_filters_lock(data), (changing or _changing_here(data))() as save:
        found = read_named_filters(data)
        left = tuple(each for each in found.entries if (each.kind, each.name) != (kind, name))
        if len(left) == len(found.entries):
            return False
        save(_fitting(left, found.bad))
        return True


def _changing_here(data: DataDirectory) -> Changing:
    @contextmanager
    def changing() -> Iterator[Callable[[bytes], None]]:
        yield partial(publish, data.goals)

    return changing


def _fitting(entries: tuple[NamedFilter, ...], bad: tuple[msgspec.Raw, ...]) -> bytes:
    content = _content(entries, bad)
    if len(content) > FILE_MAX_BYTES:
        raise NoRoomForFilters
    return content


def _content(entries: tuple[NamedFilter, ...], bad: tuple[msgspec.Raw, ...]) -> bytes:
    lines = b",\n".join([*map(msgspec.json.encode, entries), *map(bytes, bad)])
    return b"[\n" + lines + b"\n]\n"
