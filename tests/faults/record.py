"""A record of everything that is done to a directory and would be lost or kept by a
crash.

While a recorder is open, each write, sync, truncation and change of a name under its
root is noted, in order, by standing in front of the functions of `os`. What is written
without them (by Python's file objects, by DuckDB) is noted when it is synced or
renamed: until then nothing may depend on it. tests/faults/crash.py rebuilds from a
record what a crash could have left.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from unittest.mock import patch

# What holds nothing that must survive: the fold's working files, sockets.
TRANSIENT = ("spill", "spill-reports", "run")


class Names(NamedTuple):
    """One atomic change of a directory: each name leads to this file now, or to none.
    `None` of `made` means a file.
    """

    directory: str
    changes: dict[str, int | None]


class MadeDirectory(NamedTuple):
    """A new directory. Its own names are in it only once it is."""

    directory: str
    name: str


class Write(NamedTuple):
    """Bytes that are in the page cache."""

    file: int
    offset: int
    content: bytes


class Truncate(NamedTuple):
    """A file has this size now."""

    file: int
    size: int


class Sync(NamedTuple):
    """What was written to a file is on disk."""

    file: int


class SyncDirectory(NamedTuple):
    """The names of a directory are on disk."""

    directory: str


class Mark(NamedTuple):
    """Something that happened outside of the disk: ids were intended or acknowledged, a
    generation was seen.
    """

    what: str
    values: tuple[Any, ...]


Tree = dict[str, bytes | None]
"""What is below a directory: the content of each file, None for a directory."""


def read_tree(root: Path) -> Tree:
    """What is below a directory now."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if path.is_file() or path.is_dir()
    }


def numbered(tree: Tree) -> Iterator[tuple[int, tuple[str, bytes]]]:
    """The files that were there before a record begins, by the numbers that they have
    in it.
    """
    files = ((path, content) for path, content in tree.items() if content is not None)
    return ((-number, file) for number, file in enumerate(files, 1))


Operation = Names | MadeDirectory | Write | Truncate | Sync | SyncDirectory | Mark


class Recorder:
    """Notes operations under `root` between `with` and its end. `lies`: syncs are done
    and not noted, as by a disk that lies.

    `before` is called with the name of each function of `os` before it is done, and may
    raise OSError in its place.
    """

    def __init__(self, root: Path, *, lies: bool = False, before: Callable[[str], None] = lambda _name: None) -> None:
        self.root = str(root)
        self.operations: list[Operation] = []
        self._lies = lies
        self._before = before
        self._lock = threading.RLock()
        self._files: dict[int, int] = {}  # the number of an inode in this record
        self._contents: dict[int, bytearray] = {}  # what the record says is in a file
        self._stack = ExitStack()
        self.began_with = read_tree(root)
        for number, (path, content) in numbered(self.began_with):
            self._files[(root / path).stat().st_ino] = number
            self._contents[number] = bytearray(content)

    def __enter__(self) -> Recorder:
        for name in ("open", "write", "fsync", "fdatasync", "ftruncate", "rename", "link", "unlink", "mkdir", "rmdir"):
            self._stack.enter_context(patch.object(os, name, self._standing_in(name, getattr(os, name))))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def mark(self, what: str, *values: Any) -> None:
        with self._lock:
            self.operations.append(Mark(what, values))

    def _standing_in(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        note = getattr(self, f"_{name}")

        def standing_in(*arguments: Any, **named: Any) -> Any:
            directory = named.pop("dir_fd", None)
            if directory is not None:  # only rmtree does that, of what is transient
                return call(*arguments, dir_fd=directory, **named)
            return note(call, *arguments, **named)

        return standing_in

    # Names

    def _place(self, path: Any) -> tuple[str, str] | None:
        """(directory below the root, name), or None when it is not ours."""
        if not isinstance(path, str | os.PathLike):
            return None
        relative = os.path.relpath(os.fspath(path), self.root)
        if relative.startswith("..") or relative.split("/", 1)[0] in TRANSIENT:
            return None
        directory, name = os.path.split(relative)
        return directory, name

    def _file(self, path: Any) -> int:
        """The number of the file behind a path, noting whatever of its content is not
        noted yet.
        """
        inode = os.stat(path).st_ino
        if inode not in self._files:
            self._files[inode] = max(0, 0, *self._contents) + 1
            self._contents[self._files[inode]] = bytearray()
        number = self._files[inode]
        content = Path(path).read_bytes()
        if content != self._contents[number]:
            if len(content) < len(self._contents[number]):
                self.operations.append(Truncate(number, 0))
            self._contents[number][:] = content
            self.operations.append(Write(number, 0, content))
        return number

    def _noted(self, place: tuple[str, str], path: Any) -> int:
        """Like `_file`, of a file whose name may be new."""
        known = os.stat(path).st_ino in self._files
        if known:
            return self._file(path)
        position = len(self.operations)
        number = self._file(path)
        self.operations.insert(position, Names(place[0], {place[1]: number}))
        return number

    def _open(self, call: Callable[..., int], path: Any, flags: int, *rest: Any, **named: Any) -> int:
        place = self._place(path) if flags & os.O_CREAT else None
        if place is None:
            return call(path, flags, *rest, **named)
        with self._lock:
            self._before("open")
            is_new = not os.path.lexists(path)
            descriptor = call(path, flags, *rest, **named)
            if is_new:
                self._noted(place, path)
            return descriptor

    def _rename(self, call: Callable[..., None], source: Any, target: Any) -> None:
        self._give_name("rename", call, source, target)

    def _link(self, call: Callable[..., None], source: Any, target: Any) -> None:
        self._give_name("link", call, source, target)

    def _give_name(self, how: str, call: Callable[..., None], source: Any, target: Any) -> None:
        place, new = self._place(source), self._place(target)
        if place is None or new is None:
            call(source, target)
            return
        with self._lock:
            self._before(how)
            number = self._noted(place, source)
            call(source, target)
            without = {place[1]: None} if how == "rename" else {}
            self.operations.append(Names(new[0], {**without, new[1]: number}))

    def _unlink(self, call: Callable[..., None], path: Any) -> None:
        place = self._place(path)
        if place is None:
            call(path)
            return
        with self._lock:
            self._before("unlink")
            with suppress(FileNotFoundError):
                inode, links = os.lstat(path).st_ino, os.lstat(path).st_nlink
            call(path)
            if inode in self._files:
                self.operations.append(Names(place[0], {place[1]: None}))
                if links == 1:
                    del self._files[inode]  # the system may give its number to the next file

    def _mkdir(self, call: Callable[..., None], path: Any, *rest: Any, **named: Any) -> None:
        place = self._place(path)
        with self._lock:
            call(path, *rest, **named)
            if place is not None:
                self.operations.append(MadeDirectory(*place))

    def _rmdir(self, call: Callable[..., None], path: Any) -> None:
        place = self._place(path)
        with self._lock:
            call(path)
            if place is not None:
                self.operations.append(Names(place[0], {place[1]: None}))

    # Contents

    def _behind(self, descriptor: int) -> str | None:
        """The path of a descriptor, if it is ours and still has one."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return path if path.startswith(self.root) and os.path.lexists(path) and self._place(path) else None

    def _write(self, call: Callable[..., int], descriptor: int, content: Any) -> int:
        number = self._files.get(os.fstat(descriptor).st_ino)
        if number is None:
            return call(descriptor, content)
        with self._lock:
            self._before("write")
            size = os.fstat(descriptor).st_size
            written = call(descriptor, content)
            self._contents[number] += content[:written]
            self.operations.append(Write(number, size, bytes(content[:written])))
            return written

    def _ftruncate(self, call: Callable[..., None], descriptor: int, size: int) -> None:
        with self._lock:
            call(descriptor, size)
            number = self._files.get(os.fstat(descriptor).st_ino)
            if number is not None:
                del self._contents[number][size:]
                self.operations.append(Truncate(number, size))

    def _fsync(self, call: Callable[..., None], descriptor: int) -> None:
        path = self._behind(descriptor)
        if path is None:
            call(descriptor)
            return
        with self._lock:
            self._before("fsync")
            is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            number = 0 if is_directory else self._noted(self._place(path) or ("", ""), path)
            call(descriptor)
            if not self._lies:
                relative = os.path.relpath(path, self.root)
                self.operations.append(
                    SyncDirectory("" if relative == "." else relative) if is_directory else Sync(number)
                )

    _fdatasync = _fsync
