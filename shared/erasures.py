"""Erasing one visitor, as it is asked for and as it is recorded. What erases is
compactor/erasure/rewrite.py.

A request is a file in private/ from the moment when it is made until no file of the
data directory holds the visitor: a crash delays an erasure, and never leaves half of it
undone. It is recorded in erasures.ndjson as it begins and when it is done, with counts
and hashes of files. The visitor is in neither line, nor is a hash of it: against that,
ids could be tried.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, publish, remove
from shared.disk.layout import DataDirectory, parse_erasure_request
from shared.disk.listing import list_files, temp_files
from shared.timestamps import now_ms, rfc3339

UNPUBLISHED_S = 60.0


class ErasureRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is to be erased: all events with this visitor id, of one site or of all."""

    request: str
    asked_at: str
    visitor: str
    site: str | None = None


class FileDigest(msgspec.Struct, frozen=True):
    """A file that held the visitor, below the data directory, and its sha256 in hex (of
    a compressed segment: of its lines).
    """

    file: str
    sha256: str | None


class ErasureStarted(msgspec.Struct, frozen=True, tag="begun", tag_field="state"):
    """What held the visitor when an erasure began.

    `events` are counted ones, on so many `days`; `lines` those of sealed segments
    (copies of an event, and lines that were never counted, among them); `quarantined`
    bad lines in quarantine/. What stays: `other_sites` are events of this visitor on
    sites that were not asked for, `mentions` events of others that hold the same text
    in some field, and `unreadable` files of quarantine/ and log/ that nobody can look
    into. `mentions` is None for ids that are too short to tell.
    """

    request: str
    asked_at: str
    site: str | None
    events: int
    days: int
    lines: int
    segments: int
    quarantined: int
    other_sites: int
    mentions: int | None
    unreadable: tuple[str, ...]
    files: tuple[FileDigest, ...]


class ErasureCompleted(msgspec.Struct, frozen=True, tag="done", tag_field="state"):
    """The end of an erasure: `files` took the place of those that held the visitor.
    `generation` is the snapshot since then.
    """

    request: str
    done_at: str
    generation: int
    files: tuple[FileDigest, ...]


_REQUEST = msgspec.json.Decoder(ErasureRequest)
_RECORD = msgspec.json.Decoder(ErasureStarted | ErasureCompleted)


def create_request(data: DataDirectory, visitor: str, site: str | None) -> ErasureRequest:
    """Publish a request. From now on it will be carried out, by whoever compacts
    next.
    """
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    asked = ErasureRequest(secrets.token_hex(8), rfc3339(now_ms()), visitor, site and site.lower())
    publish(data.erasure_request(asked.request), msgspec.json.encode(asked) + b"\n", PRIVATE_MODE)
    return asked


def pending_requests(data: DataDirectory) -> list[ErasureRequest]:
    """Requests that are not done, the oldest first."""
    found = (_decoded(path) for path in _requests(data))
    return sorted((request for request in found if request is not None), key=lambda request: request.asked_at)


def unreadable_requests(data: DataDirectory) -> list[Path]:
    """Requests that are damaged: nobody can tell any more whom they name."""
    return [path for path in _requests(data) if _decoded(path) is None]


def _requests(data: DataDirectory) -> list[Path]:
    return [path for path in list_files(data.private) if parse_erasure_request(path.name)]


def _decoded(path: Path) -> ErasureRequest | None:
    try:
        return _REQUEST.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def temp_request_files(data: DataDirectory) -> Iterator[Path]:
    """Requests whose client was killed before they were published."""
    return temp_files(data.private, lambda target: parse_erasure_request(target) is not None, UNPUBLISHED_S)


def count_pending(data: DataDirectory) -> int:
    """How many requests are not done; 0 for who may not look."""
    try:
        return len(_requests(data))
    except PermissionError:
        return 0


def read_records(data: DataDirectory) -> Iterator[ErasureStarted | ErasureCompleted]:
    """Every line of erasures.ndjson, in order; one that is damaged is left out."""
    try:
        content = data.erasures.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield _RECORD.decode(line)


def progress_of(data: DataDirectory, request: str) -> tuple[ErasureStarted | None, ErasureCompleted | None]:
    """How far an erasure is."""
    begun = done = None
    for record in read_records(data):
        if record.request != request:
            continue
        if isinstance(record, ErasureStarted):
            begun = record
        else:
            done = record
    return begun, done


def record(data: DataDirectory, line: ErasureStarted | ErasureCompleted) -> None:
    """Add a line to erasures.ndjson. Only for the holder of the compactor's lock."""
    try:
        before = data.erasures.read_bytes()
    except FileNotFoundError:
        before = b""
    publish(data.erasures, before + msgspec.json.encode(line) + b"\n")


def delete_request(data: DataDirectory, request: ErasureRequest) -> None:
    """Remove a request that is done: it was the last file that held the visitor."""
    remove([data.erasure_request(request.request)])


def is_done(data: DataDirectory, request: ErasureRequest) -> bool:
    """Whether the request is carried out."""
    return not data.erasure_request(request.request).exists()
