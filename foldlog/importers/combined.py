"""`foldlog import --format combined`: an access log becomes events, appended by the
writer `import`.

Every GET is a `pageview` at its real time. Its id is a hash of the line without the
client and of how many equal lines precede it, so that importing the file again, or a
longer version of it, counts each request once. The address is not part of the id, where
it could be found by trying all addresses; it is hashed with a salt that exists only
during the import.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import secrets
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from ingest.collect.encode import Line, encode_lines
from ingest.collect.visitor_id import hash_visitor
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import Unavailable
from shared.disk.layout import IMPORT_WRITER, DataDirectory
from shared.exit_codes import UsageError
from shared.log import Log
from shared.segments.line import SCHEMA_VERSION
from shared.settings import Settings
from shared.timestamps import DAY_S, now_ms, rfc3339

_COMBINED = re.compile(
    # The time is short, so that a line of brackets is read once and not once for each.
    rb"(?P<address>\S+) \S+ (?P<user>.*?) \[(?P<time>[^\]]{1,40})\] "
    rb'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) \S+'
    rb'(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?\s*'
)
_TIME = "%d/%b/%Y:%H:%M:%S %z"
_BATCH = 1000
_TEXT_MAX = 2000
# Longer than any that a web server writes: three headers of 8 KiB, each byte escaped.
LINE_MAX_BYTES = 128 << 10
# A server whose clock or zone is wrong by hours is imported; a year 9999 is not.
FUTURE_MAX_MS = DAY_S * 1000

Reason = Literal["not in combined format", "dated before 1970", "dated beyond tomorrow"]


class Rejected(NamedTuple):
    """How many lines were rejected for one reason, and the number of the first."""

    lines: int
    first: int


@dataclass
class Imported:
    """Lines of the file, events appended, requests other than GET, and lines that are
    no event, by reason.
    """

    lines: int = 0
    events: int = 0
    skipped: int = 0
    rejected: dict[Reason, Rejected] = field(default_factory=dict)

    def reject_line(self, reason: Reason) -> None:
        """Count the line that was read last as rejected."""
        before = self.rejected.get(reason, Rejected(0, self.lines))
        self.rejected[reason] = before._replace(lines=before.lines + 1)


class LineRejected(ValueError):
    """A line that is no event: `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class AccessLogDamaged(UsageError):
    """A compressed file is damaged, or ends early. What it had before is appended:
    `events`.
    """

    def __init__(self, file: Path, events: int) -> None:
        super().__init__(file, events)
        self.file, self.events = file, events

    def __str__(self) -> str:
        return (
            f"{self.file} is no complete gzip file: {self.events:,} events were appended, of the lines before the "
            "damage. Import a whole copy of it, and each counts once"
        )


@dataclass(frozen=True)
class AccessLogEntry:
    """The fields of a line of an access log that an event needs."""

    address: str
    time_ms: int
    target: str
    referrer: str | None
    agent: str | None


def parse_line(line: bytes, now_ms: int) -> AccessLogEntry | None:
    """A GET from a line in combined format; None for any other request. Raises
    LineRejected for a line in another format, and for a time before 1970 or more than
    24 hours after `now_ms`.
    """
    match = _COMBINED.fullmatch(line.rstrip(b"\r\n"))
    if match is None:
        raise LineRejected("not in combined format")
    time_ms = _time_ms(match["time"])
    if time_ms < 0:
        raise LineRejected("dated before 1970")
    if time_ms > now_ms + FUTURE_MAX_MS:
        raise LineRejected("dated beyond tomorrow")
    method, _, rest = match["request"].decode("utf-8", "replace").partition(" ")
    target = rest.partition(" ")[0]
    if method != "GET" or not target.startswith("/"):
        return None
    return AccessLogEntry(
        match["address"].decode("ascii", "replace"), time_ms, target, _text(match["referrer"]), _text(match["agent"])
    )


def _time_ms(text: bytes) -> int:
    """Epoch milliseconds. May be before 1970, or in the year 10000."""
    try:
        moment = datetime.strptime(text.decode("ascii"), _TIME)  # noqa: DTZ007  %z is in _TIME
    except ValueError:
        raise LineRejected("not in combined format") from None
    return round(moment.timestamp() * 1000)


def _text(field: bytes | None) -> str | None:
    text = (field or b"-").decode("utf-8", "replace")[:_TEXT_MAX]
    return None if text in {"-", ""} else text


def without_client(line: bytes) -> bytes:
    """A line from its time on, without the address and the user name before it."""
    return line[line.index(b"[") :].rstrip(b"\r\n")


def event_id(request: bytes, occurrence: int) -> str:
    """The same id for the same occurrence of equal requests, in any file."""
    return hashlib.sha256(b"%d\n%b" % (occurrence, request)).hexdigest()[:32]


def import_combined(
    file: Path, site: str, data: DataDirectory, settings: Settings, log: Log, progress: Callable[[int], None]
) -> Imported:
    """Append all events of a file durably, and seal. `progress` is called with the
    bytes of the file that are done.

    Raises WriterAlive when another import is running, Unavailable when the disk is
    nearly full, AccessLogDamaged, OSError when the file cannot be read or the log
    cannot be written.
    """
    return asyncio.run(_import(file, site, data, settings, log, progress))


async def _import(
    file: Path, site: str, data: DataDirectory, settings: Settings, log: Log, progress: Callable[[int], None]
) -> Imported:
    converter = _Converter(site)
    done = converter.done
    writer = CommitQueue(data, IMPORT_WRITER, settings, log)
    try:
        for batch, position in _batches(file):
            events = list(converter.events(batch))
            if events:
                check_room(data, settings, done)
                await writer.append(encode_lines(events), len(events))
            done.events += len(events)
            progress(position)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise AccessLogDamaged(file, done.events) from None
    finally:
        await writer.close()
    return done


class _Converter:
    """Turns lines of one file into events. `done` counts the lines."""

    def __init__(self, site: str) -> None:
        self.done = Imported()
        self._site = site
        self._now_ms = now_ms()
        self._salt = secrets.token_bytes(32)
        self._seen: Counter[bytes] = Counter()

    def events(self, lines: Iterable[bytes]) -> Iterator[Line]:
        for line in lines:
            self.done.lines += 1
            try:
                entry = parse_line(line, self._now_ms)
            except LineRejected as error:
                self.done.reject_line(error.reason)
                continue
            if entry is None:
                self.done.skipped += 1
                continue
            yield _event(entry, self._id(line), self._site, self._salt)

    def _id(self, line: bytes) -> str:
        request = without_client(line)
        digest = hashlib.sha256(request).digest()  # smaller to keep than the line
        self._seen[digest] += 1
        return event_id(request, self._seen[digest])


def check_room(data: DataDirectory, settings: Settings, done: Imported) -> None:
    """P10: an import must not use up the room in which a server stores events. Raises
    Unavailable.
    """
    free = shutil.disk_usage(data.root).free
    if free < settings.disk_reserve:
        raise Unavailable(
            f"the disk is nearly full: {free:,} bytes are free, FOLDLOG_DISK_RESERVE is {settings.disk_reserve:,}. "
            f"{done.events:,} events were appended; import the file again once there is room, and each counts once"
        )


def _event(entry: AccessLogEntry, id_: str, site: str, salt: bytes) -> Line:
    day = entry.time_ms // (DAY_S * 1000)
    visitor = hash_visitor(salt + day.to_bytes(4, "big"), site, entry.address, entry.agent or "")
    referrer = entry.referrer if entry.referrer and entry.referrer.startswith(("http://", "https://")) else None
    return Line(
        v=SCHEMA_VERSION,
        id=id_,
        name="pageview",
        time=rfc3339(entry.time_ms),
        received=rfc3339(now_ms()),
        site=site,
        visitor=visitor,
        url=f"https://{site}{entry.target}"[:_TEXT_MAX],
        referrer=referrer,
        ua=entry.agent,
        consent="imported",
        sender="import",
        daily=True,
    )


def _batches(file: Path) -> Iterator[tuple[list[bytes], int]]:
    """Lines of the file, and how many of its bytes have been read (compressed ones for
    .gz). Lines before damage are returned before it is raised.
    """
    with file.open("rb") as raw:
        lines = _lines(gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw)
        batch: list[bytes] = []
        try:
            for line in lines:
                batch.append(line)
                if len(batch) == _BATCH:
                    yield batch, raw.tell()
                    batch = []
        except (EOFError, zlib.error, gzip.BadGzipFile):
            yield batch, raw.tell()
            raise
        yield batch, raw.tell()


def _lines(file: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """The lines of a file; an empty one, which is rejected, for one beyond
    LINE_MAX_BYTES: a file without newlines need not fit into memory.
    """
    while line := file.readline(LINE_MAX_BYTES + 1):
        is_long = len(line) > LINE_MAX_BYTES
        while line and not line.endswith(b"\n") and is_long:
            line = file.readline(LINE_MAX_BYTES)
        yield b"\n" if is_long else line
