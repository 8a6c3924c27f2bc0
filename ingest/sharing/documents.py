"""Documents that people keep, shared by the hosts of a PostgreSQL store: the store has
the newest version of each, and every host a copy, which is the file that it reads.

A change is made on the newest version, under the lock of its row, so that no host loses
that of another one. What was changed in the file itself, by an editor or before there
was a store, is published by the next turn. Beside the file stands which version of it
this host last had in common with the store: it tells who has changed something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from ingest.sharing.document_rows import FETCH_S, Version, change, connected_to, hold, peek
from shared.disk.bounded_read import read_bounded
from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from shared.stores.address import shown_address

if TYPE_CHECKING:
    from psycopg import Connection

DOCUMENT_MAX_BYTES = 1 << 20
_NOTE_MAX_BYTES = 4096


class Document(NamedTuple):
    """A file that hosts share, at most DOCUMENT_MAX_BYTES long.

    `lock` is held by each process that changes the file. `is_lost` says of bytes that
    nothing can be read of them; `set_aside` keeps such a file under another name.
    `merged` makes one of the store's and this host's where both were changed.
    """

    name: str
    path: Path
    lock: Callable[[], AbstractContextManager[None]]
    is_lost: Callable[[bytes], bool]
    set_aside: Callable[[], None]
    merged: Callable[[bytes, bytes], bytes]


class _Held(NamedTuple):
    """A version with its bytes. Number 0: none yet."""

    number: int
    content: bytes

    @property
    def version(self) -> Version:
        return Version(self.number, _digest(self.content))


class _Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """`store`: the address, without its password. `before`: the hash of the file that
    this version replaces, until it has.
    """

    store: str
    version: int
    sha256: str
    before: str = ""

    def is_unchanged(self, content: bytes) -> bool:
        """Whether a file is as this host has left it."""
        return _digest(content) in {self.sha256, self.before}


_NOTE = msgspec.json.Decoder(_Note)


class SharedDocuments:
    """`store`: the address of a PostgreSQL store."""

    failing = "store_documents_failed"
    working = "store_documents_shared"

    def __init__(self, data: DataDirectory, store: str, documents: Sequence[Document]) -> None:
        self._data, self._store, self._documents = data, store, documents

    def turn(self) -> bool:
        """Take what others changed, and publish what was changed here."""
        with connected_to(self._store) as connection:
            for document in self._documents:
                with document.lock():
                    if self._is_settled(connection, document):
                        continue
                    with self._changing(connection, document):
                        pass
        return True

    def pause_s(self) -> float:
        return FETCH_S

    def failed(self) -> None:
        return

    @contextmanager
    def changing(self, document: Document) -> Iterator[Callable[[bytes], None]]:
        """The file is the newest version within the block, and what the block saves
        becomes the next one, at its end. The caller holds the lock of the document.
        Raises StoreUnavailable and StoreRefused.
        """
        with connected_to(self._store) as connection, self._changing(connection, document) as save:
            yield save

    def _is_settled(self, connection: Connection, document: Document) -> bool:
        """Whether file, note and store are of one version, without a lock."""
        found = peek(connection, document.name)
        local, note = _local(document), self._note(document)
        if local is None or document.is_lost(local):
            return found is None
        held = found or Version(0, "")
        return note == self._noted(held) and _digest(local) == held.sha256

    @contextmanager
    def _changing(self, connection: Connection, document: Document) -> Iterator[Callable[[bytes], None]]:
        with connection.transaction():
            held = _Held(*hold(connection, document.name))
            newest = self._newest(document, held)
            _keep(document, newest)
            saved = list[bytes]()
            yield saved.append
            if saved:
                newest = _Held(self._after(document, newest), saved[-1])
            if newest != held:
                change(connection, document.name, *newest)
        self._keep_noted(document, newest)

    def _newest(self, document: Document, held: _Held) -> _Held:
        """Of what the store holds and what this host has."""
        local, note = _local(document), self._note(document)
        if local is None or document.is_lost(local) or local == held.content:
            return held
        after = self._after(document, held)
        if document.is_lost(held.content):  # or none yet
            return _Held(after, local)
        if note is None:
            return _Held(after, document.merged(held.content, local))
        if held.number < note.version:  # an older store was restored
            return _Held(note.version if note.is_unchanged(local) else after, local)
        if note.is_unchanged(local):
            return held
        is_alone = Version(note.version, note.sha256) == held.version
        return _Held(after, local if is_alone else document.merged(held.content, local))

    def _after(self, document: Document, newest: _Held) -> int:
        """The number of the next version. The store may have lost some."""
        note = self._note(document)
        return max(newest.number, note.version if note else 0) + 1

    def _keep_noted(self, document: Document, newest: _Held) -> None:
        """Make the file this version. It is noted before and after, so that a host that
        is killed meanwhile takes neither file for one that an editor has changed.
        """
        if not newest.number:
            return
        noted, local = self._noted(newest.version), _local(document)
        if local is not None and local != newest.content:
            self._write_note(document, replace(noted, before=_digest(local)))
        _keep(document, newest)
        if self._note(document) != noted:
            self._write_note(document, noted)

    def _noted(self, version: Version) -> _Note:
        return _Note(shown_address(self._store), *version)

    def _write_note(self, document: Document, note: _Note) -> None:
        publish(self._data.shared_note(document.path), msgspec.json.encode(note) + b"\n")

    def _note(self, document: Document) -> _Note | None:
        """None where there is none, or one of another store."""
        try:
            content = read_bounded(self._data.shared_note(document.path), _NOTE_MAX_BYTES)
            note = None if content is None else _NOTE.decode(content)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return note if note is not None and note.store == shown_address(self._store) else None


def _keep(document: Document, newest: _Held) -> None:
    """Make the file this version, if anything can be read of it."""
    local = _local(document)
    if local == newest.content or document.is_lost(newest.content):
        return
    if local is None or document.is_lost(local):
        document.set_aside()
    publish(document.path, newest.content)


def _local(document: Document) -> bytes | None:
    """The bytes of the file; none where it cannot be read."""
    try:
        return read_bounded(document.path, DOCUMENT_MAX_BYTES)
    except OSError:
        return None


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
