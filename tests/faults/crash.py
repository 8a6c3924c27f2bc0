"""What a crash could have left of a directory, from the record of what was done to it.

Up to the crash, what was synced is there: the content of a file by a sync of the file,
a name by a sync of its directory. Of the rest the system may have written anything: no
operation, all of them, some of them in another order (but the changes of one name in
theirs), a write in part, or the size of a file without its content (zeros). `Disk`
follows a record; `Disk.crash` draws one such directory.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from tests.faults.record import (
    MadeDirectory,
    Mark,
    Names,
    Operation,
    Recorder,
    Sync,
    SyncDirectory,
    Tree,
    Truncate,
    Write,
    numbered,
)

SECTOR = 512
How = Literal["kept", "lost", "some", "torn", "in order"]
# kept: nothing is lost, as by kill -9. lost: all that was not synced. some: each
# operation by itself. torn: likewise, and writes in part. in order: names as a journal
# writes them, one after the other up to a point; contents as in torn.
HOWS: tuple[How, ...] = ("kept", "lost", "some", "torn", "in order")


class Disk:
    """Follows operations; knows what is durable and what is not yet."""

    def __init__(self, tree: Tree) -> None:
        """`tree` is what was there, durably, before the record began; its files have
        the numbers of `numbered`.
        """
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, dict[str, int]] = {"": {}}
        self._directories: set[str] = {""}
        self._unsynced: dict[int, list[Write | Truncate]] = {}
        self._pending: list[Names | MadeDirectory] = []
        self._directories |= {path for path, content in tree.items() if content is None}
        for number, (path, content) in numbered(tree):
            directory, _, name = path.rpartition("/")
            self._contents[number] = content
            self._names.setdefault(directory, {})[name] = number

    def follow(self, operation: Operation) -> None:
        """One operation more."""
        if isinstance(operation, Write | Truncate):
            self._unsynced.setdefault(operation.file, []).append(operation)
        elif isinstance(operation, Sync):
            pending = self._unsynced.pop(operation.file, [])
            self._contents[operation.file] = _written(self._contents.get(operation.file, b""), pending)
        elif isinstance(operation, SyncDirectory):
            there = [each for each in self._pending if each.directory == operation.directory]
            self._pending = [each for each in self._pending if each.directory != operation.directory]
            _apply(there, self._names, self._directories)
        elif not isinstance(operation, Mark):
            self._pending.append(operation)

    @property
    def unsynced(self) -> int:
        """How many operations a crash may lose."""
        return len(self._pending) + sum(len(pending) for pending in self._unsynced.values())

    def crash(self, how: How, draw: random.Random) -> Tree:
        """What is there after a crash now."""
        names = {directory: dict(there) for directory, there in self._names.items()}
        directories = set(self._directories)
        _apply(_survivors(self._pending, how, draw), names, directories)
        tree: Tree = {}
        for directory in sorted(directories):
            if directory:
                tree[directory] = None
            for name, number in names.get(directory, {}).items():
                tree[f"{directory}/{name}" if directory else name] = self._content(number, how, draw)
        return tree

    def _content(self, number: int, how: How, draw: random.Random) -> bytes:
        durable = self._contents.get(number, b"")
        pending = self._unsynced.get(number, [])
        if how in {"torn", "in order"}:
            return _torn(durable, pending, draw)
        return _written(durable, [each for each in pending if how == "kept" or (how == "some" and draw.random() < 0.5)])


def crashes(recorder: Recorder, seed: int, hows: Iterable[How] = HOWS) -> Iterator[tuple[str, Tree]]:
    """Each different directory that a crash could have left, after each operation: when
    and how it was, and what is there.
    """
    disk, draw = Disk(recorder.began_with), random.Random(seed)
    seen: list[Tree] = []
    for number, operation in enumerate(recorder.operations):
        disk.follow(operation)
        for how in hows:
            tree = disk.crash(how, draw)
            if tree not in seen:
                seen.append(tree)
                yield f"{how} after operation {number}, {operation!r:.200}", tree


def _survivors(pending: list[Names | MadeDirectory], how: How, draw: random.Random) -> list[Names | MadeDirectory]:
    if how == "in order":
        return pending[: draw.randint(0, len(pending))]
    survivors, lost = [], set[tuple[str, str]]()
    for each in pending:
        touched = {(each.directory, name) for name in (each.changes if isinstance(each, Names) else [each.name])}
        # A change of a name stands on the one before it: a name that is made anew was
        # free, so its removal is there as well.
        if not touched & lost and (how == "kept" or (how != "lost" and draw.random() < 0.5)):
            survivors.append(each)
        else:
            lost |= touched
    return survivors


def _apply(changes: Iterable[Names | MadeDirectory], names: dict[str, dict[str, int]], directories: set[str]) -> None:
    for change in changes:
        if isinstance(change, MadeDirectory):
            path = f"{change.directory}/{change.name}".strip("/")
            directories.add(path)
            names.setdefault(path, {})  # names below it may have been synced before its own was
            continue
        there = names.setdefault(change.directory, {})
        for name, number in change.changes.items():
            path = f"{change.directory}/{name}".strip("/")
            if number is not None:
                there[name] = number
            elif path in directories:
                directories.discard(path)
                names.pop(path, None)
            else:
                there.pop(name, None)


def _written(content: bytes, operations: Iterable[Write | Truncate]) -> bytes:
    for operation in operations:
        if isinstance(operation, Truncate):
            content = content[: operation.size].ljust(operation.size, b"\0")
        else:
            end = operation.offset + len(operation.content)
            content = content[: operation.offset].ljust(operation.offset, b"\0") + operation.content + content[end:]
    return content


def _torn(durable: bytes, pending: list[Write | Truncate], draw: random.Random) -> bytes:
    """Some of the operations, up to some byte; what is missing below it are zeros, in
    whole sectors.
    """
    content = durable
    for each in pending:
        if isinstance(each, Truncate):
            content = _written(content, [each] if draw.random() < 0.5 else [])
            continue
        kept = each.content[: draw.randint(0, len(each.content))]
        if kept and draw.random() < 0.3:
            hole = draw.randrange(0, len(kept), SECTOR)
            kept = kept[:hole] + bytes(min(SECTOR, len(kept) - hole)) + kept[hole + SECTOR :]
        if draw.random() < 0.8:
            content = _written(content, [each._replace(content=kept)])
    return content


def make_tree(root: Path, tree: Tree) -> None:
    """Put a tree below a directory, which is made."""
    root.mkdir(parents=True)
    for path, content in tree.items():
        if content is None:
            (root / path).mkdir(exist_ok=True)
        else:
            (root / path).write_bytes(content)
