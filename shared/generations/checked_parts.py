"""Which parts processes of this host have compared with their sha256, or have written:
a new process need not read those again before it uses them.

A record is trusted while the file has the same inode, length, mtime and ctime, for a
day, and until the host is started again: a disk that rots is found. Everything else,
whatever is wrong with the records, means that a part is read again.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from shared.disk.boot import boot_id
from shared.disk.durable import PRIVATE_MODE, publish
from shared.disk.file_identity import FileIdentity, file_identity
from shared.disk.layout import DataDirectory

TRUSTED_S = 86_400
FILE_MAX_BYTES = 4 << 20


class Record(msgspec.Struct, array_like=True, frozen=True):
    """A line of the file. `checked_at`: Unix seconds."""

    part: str
    identity: FileIdentity
    sha256: str
    boot: str
    checked_at: int

    def is_trusted(self, boot: str) -> bool:
        return bool(boot) and self.boot == boot and 0 <= time.time() - self.checked_at < TRUSTED_S


@dataclass
class _Known:
    """The trusted records of a file, as it was when it was read."""

    read: FileIdentity | None = None
    records: dict[str, Record] = field(default_factory=dict)


_decoder = msgspec.json.Decoder(Record)
_known: dict[Path, _Known] = {}


def record_checked(data: DataDirectory, path: Path, identity: FileIdentity, sha256: str) -> None:
    """Note that the bytes of a part had this sha256 while it had this identity.

    The note is not synced: after a power cut the host has been started again. Without
    the directory, or without the right to write, none is made.
    """
    boot = boot_id()
    record = Record(_name(data, path), identity, sha256, boot, int(time.time()))
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(data.checked_parts, flags, PRIVATE_MODE)
        try:
            # One write, so that lines of several processes do not mix; on a line of its
            # own, should the last one be torn.
            os.write(descriptor, b"\n" + _line(record))
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size > FILE_MAX_BYTES:
            _shrink(data, boot)


def was_checked(data: DataDirectory, path: Path, identity: FileIdentity, sha256: str) -> bool:
    """Whether a process of this host found that the bytes of a part with this identity
    have this sha256.
    """
    known = _known.setdefault(data.root, _Known())
    boot = boot_id()
    try:
        now = file_identity(data.checked_parts)
        if now != known.read:
            known.records = {record.part: record for record in _trusted(data, boot)}
            known.read = now
    except OSError:
        known.records, known.read = {}, None
    record = known.records.get(_name(data, path))
    return record is not None and record.is_trusted(boot) and (record.identity, record.sha256) == (identity, sha256)


def _trusted(data: DataDirectory, boot: str) -> Iterator[Record]:
    """The records of this boot, the newest of a part last. Lines that are no record are
    left out, and all of a file that others could have written.
    """
    with data.checked_parts.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid not in {0, os.geteuid()} or stat.S_IMODE(found.st_mode) & 0o022:
            return
        for line in file.read(2 * FILE_MAX_BYTES).splitlines():
            with suppress(msgspec.MsgspecError):
                record = _decoder.decode(line)
                if record.is_trusted(boot):
                    yield record


def _shrink(data: DataDirectory, boot: str) -> None:
    """Write the file anew with what is still trusted, or with nothing if that is too
    much. A line that another process appends meanwhile is lost.
    """
    newest = {record.part: record for record in _trusted(data, boot)}
    content = b"".join(map(_line, newest.values()))
    publish(data.checked_parts, content if len(content) < FILE_MAX_BYTES // 2 else b"", PRIVATE_MODE)


def _line(record: Record) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _name(data: DataDirectory, path: Path) -> str:
    return str(path.relative_to(data.root))
