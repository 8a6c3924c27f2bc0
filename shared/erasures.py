"""Requests to erase one visitor, and the record of what was erased.
compactor/erasure/rewrite.py carries them out.

A request is a file in private/. It exists until no file of the data directory contains
the visitor, so a crash delays an erasure but never loses it. erasures.ndjson gets one
line when an erasure starts and one when it is completed, with counts and hashes of
files. Neither record contains the visitor id or its hash; a hash could be brute-forced.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, publish, remove
from shared.disk.layout import DataDirectory, parse_erasure_order, parse_erasure_request
from shared.disk.listing import list_files, temp_files
from shared.timestamps import now_ms, rfc3339

# A request is written in milliseconds, so an older temporary file is of a killed
# process.
TEMP_FILE_MAX_AGE_S = 60.0


class ErasureRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """All events with this visitor id are to be erased, on one site or (None) on
    all.
    """

    request: str
    asked_at: str
    visitor: str
    site: str | None = None


class FileDigest(msgspec.Struct, frozen=True):
    """A file that contained the visitor, or its replacement.

    `file` is relative to the data directory. `sha256` is in hex; for a compressed
    segment it is that of its lines.
    """

    file: str
    sha256: str | None


class ErasureStarted(msgspec.Struct, frozen=True, tag="begun", tag_field="state"):
    """What contained the visitor when an erasure started.

    `events`: counted events, on `days` days. `lines`: lines of sealed segments,
    including duplicates and lines that were never counted. `quarantined`: bad lines in
    quarantine/.

    Not erased: `other_sites`, events of the visitor on sites outside the request;
    `mentions`, events of other visitors with the same text in some field (None for ids
    too short to search for); `unreadable`, files of quarantine/ and log/ that cannot be
    searched.
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
    """The end of an erasure: `files` replace those that contained the visitor.
    `generation` is the first snapshot without the visitor.
    """

    request: str
    done_at: str
    generation: int
    files: tuple[FileDigest, ...]


_REQUEST = msgspec.json.Decoder(ErasureRequest)
_RECORD = msgspec.json.Decoder(ErasureStarted | ErasureCompleted)


def create_request(data: DataDirectory, visitor: str, site: str | None) -> ErasureRequest:
    """Publish a request durably. The next process that compacts carries it out."""
    request = ErasureRequest(secrets.token_hex(8), rfc3339(now_ms()), visitor, site and site.lower())
    add_request(data, request)
    return request


def add_request(data: DataDirectory, request: ErasureRequest) -> None:
    """Publish a request that was made elsewhere."""
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    publish(data.erasure_request(request.request), msgspec.json.encode(request) + b"\n", PRIVATE_MODE)


def pending_requests(data: DataDirectory) -> list[ErasureRequest]:
    """Requests that are not completed, oldest first."""
    decoded = (_decode(path) for path in _request_files(data))
    return sorted((request for request in decoded if request is not None), key=lambda request: request.asked_at)


def unreadable_requests(data: DataDirectory) -> list[Path]:
    """Request files that cannot be decoded: the visitor id in them is lost."""
    return [path for path in _request_files(data) if _decode(path) is None]


def count_pending(data: DataDirectory) -> int:
    """How many requests are not completed; 0 for a user without access to private/."""
    try:
        return len(_request_files(data))
    except PermissionError:
        return 0


def is_done(data: DataDirectory, request: ErasureRequest) -> bool:
    """Whether the request is completed."""
    return not data.erasure_request(request.request).exists()


def delete_request(data: DataDirectory, request: ErasureRequest) -> None:
    """Delete a completed request, the last file that contained the visitor."""
    remove([data.erasure_request(request.request)])


def write_order(data: DataDirectory, request: ErasureRequest) -> None:
    """Keep a request until this host has confirmed it to the store."""
    publish(data.erasure_order(request.request), msgspec.json.encode(request) + b"\n", PRIVATE_MODE)


def has_order(data: DataDirectory, request: ErasureRequest) -> bool:
    return data.erasure_order(request.request).exists()


def known_orders(data: DataDirectory) -> list[ErasureRequest]:
    """Orders that this host has not confirmed."""
    paths = [path for path in list_files(data.private) if parse_erasure_order(path.name)]
    return [order for path in paths if (order := _decode(path)) is not None]


def delete_order(data: DataDirectory, request: ErasureRequest) -> None:
    """Delete a confirmed order."""
    remove([data.erasure_order(request.request)])


def temp_request_files(data: DataDirectory) -> Iterator[Path]:
    """Temporary files of processes that were killed before they published a request."""
    return temp_files(data.private, lambda target: parse_erasure_request(target) is not None, TEMP_FILE_MAX_AGE_S)


def _request_files(data: DataDirectory) -> list[Path]:
    return [path for path in list_files(data.private) if parse_erasure_request(path.name)]


def _decode(path: Path) -> ErasureRequest | None:
    try:
        return _REQUEST.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_records(data: DataDirectory) -> Iterator[ErasureStarted | ErasureCompleted]:
    """Every line of erasures.ndjson, in order. Damaged lines are skipped."""
    try:
        content = data.erasures.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield _RECORD.decode(line)


def progress_of(data: DataDirectory, request: str) -> tuple[ErasureStarted | None, ErasureCompleted | None]:
    """The two records of a request, None where they are not written yet."""
    started = completed = None
    for record in read_records(data):
        if record.request != request:
            continue
        if isinstance(record, ErasureStarted):
            started = record
        else:
            completed = record
    return started, completed


def append_record(data: DataDirectory, record: ErasureStarted | ErasureCompleted) -> None:
    """Append a line to erasures.ndjson. The caller holds the compactor's lock."""
    try:
        before = data.erasures.read_bytes()
    except FileNotFoundError:
        before = b""
    publish(data.erasures, before + msgspec.json.encode(record) + b"\n")
