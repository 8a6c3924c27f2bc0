"""`foldlog import --format combined`: an access log becomes events, appended like any
other, by the writer `import`.

Every GET is a `pageview` at its real time. Its id is made from the line without the
client, and from how often the same came before in the file: the file imported twice, or
a longer version of it, counts each request once. The address is hashed with a salt that
exists only during the import; in the id it could be guessed by trying them all.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from ingest.collect.encode import Line, encode_lines
from ingest.collect.visitor_id import hash_visitor
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import Unavailable
from shared.disk.layout import IMPORT_WRITER, DataDirectory
from shared.log import Log
from shared.segments.line import SCHEMA_VERSION
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339

_COMBINED = re.compile(
    rb'(?P<address>\S+) \S+ (?P<user>.*?) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) \S+'
    rb'(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?\s*'
)
_TIME = "%d/%b/%Y:%H:%M:%S %z"
_BATCH = 1000
_TEXT_MAX = 2000


@dataclass
class Imported:
    """How it went: lines of the file, events appended, lines that are no GET, lines
    that could not be understood.
    """

    lines: int = 0
    events: int = 0
    skipped: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Request:
    """What one line of an access log says that an event needs."""

    address: str
    time_ms: int
    target: str
    referrer: str | None
    agent: str | None


def parse_line(line: bytes) -> Request | None:
    """A GET from a line in combined format, None for any other request. Raises
    ValueError when it is not in that format.
    """
    match = _COMBINED.fullmatch(line.rstrip(b"\r\n"))
    if match is None:
        raise ValueError("not in combined format")
    time_ms = round(datetime.strptime(match["time"].decode("ascii"), _TIME).timestamp() * 1000)  # noqa: DTZ007  %z is in _TIME
    if time_ms < 0:
        raise ValueError("before 1970")
    method, _, rest = match["request"].decode("utf-8", "replace").partition(" ")
    target = rest.partition(" ")[0]
    if method != "GET" or not target.startswith("/"):
        return None
    return Request(
        match["address"].decode("ascii", "replace"), time_ms, target, _text(match["referrer"]), _text(match["agent"])
    )


def _text(field: bytes | None) -> str | None:
    text = (field or b"-").decode("utf-8", "replace")[:_TEXT_MAX]
    return None if text in {"-", ""} else text


def without_client(line: bytes) -> bytes:
    """A line from its time on: what stands before are the address and the name of a
    user.
    """
    return line[line.index(b"[") :].rstrip(b"\r\n")


def event_id(what: bytes, occurrence: int) -> str:
    """The same for the same request and the same number of equal ones before it, in
    whichever file they stand.
    """
    return hashlib.sha256(b"%d\n%b" % (occurrence, what)).hexdigest()[:32]


def import_combined(
    file: Path, site: str, data: DataDirectory, settings: Settings, log: Log, progress: Callable[[int], None]
) -> Imported:
    """Append all events of a file, durably, and seal. `progress` hears the bytes of the
    file that are done.

    Raises WriterAlive when another import is running, Unavailable when the disk is
    nearly full, OSError when the file cannot be read or the log not be written.
    """
    return asyncio.run(_import(file, site, data, settings, log, progress))


async def _import(
    file: Path, site: str, data: DataDirectory, settings: Settings, log: Log, progress: Callable[[int], None]
) -> Imported:
    done = Imported()
    salt = secrets.token_bytes(32)
    seen: Counter[bytes] = Counter()
    writer = CommitQueue(data, IMPORT_WRITER, settings, log)
    try:
        for batch, position in _batches(file):
            lines = []
            for raw in batch:
                done.lines += 1
                try:
                    request = parse_line(raw)
                except ValueError:
                    done.unreadable += 1
                    continue
                if request is None:
                    done.skipped += 1
                    continue
                what = without_client(raw)
                digest = hashlib.sha256(what).digest()
                seen[digest] += 1
                lines.append(_line(request, event_id(what, seen[digest]), site, salt))
            if lines:
                check_room(data, settings, done)
                await writer.append(encode_lines(lines), len(lines))
            done.events += len(lines)
            progress(position)
    finally:
        await writer.close()
    return done


def check_room(data: DataDirectory, settings: Settings, done: Imported) -> None:
    """P10: what is imported must not take the room in which a server beside it stores
    events. Raises Unavailable.
    """
    free = shutil.disk_usage(data.root).free
    if free < settings.disk_reserve:
        raise Unavailable(
            f"the disk is nearly full: {free:,} bytes are free, FOLDLOG_DISK_RESERVE is {settings.disk_reserve:,}. "
            f"{done.events:,} events were appended; import the file again once there is room, and each counts once"
        )


def _line(request: Request, id_: str, site: str, salt: bytes) -> Line:
    day = request.time_ms // 86_400_000
    visitor = hash_visitor(salt + day.to_bytes(4, "big"), site, request.address, request.agent or "")
    referrer = request.referrer if request.referrer and request.referrer.startswith(("http://", "https://")) else None
    return Line(
        v=SCHEMA_VERSION,
        id=id_,
        name="pageview",
        time=rfc3339(request.time_ms),
        received=rfc3339(now_ms()),
        site=site,
        visitor=visitor,
        url=f"https://{site}{request.target}"[:_TEXT_MAX],
        referrer=referrer,
        ua=request.agent,
        consent="imported",
    )


def _batches(file: Path) -> Iterator[tuple[list[bytes], int]]:
    """Lines of the file, with the bytes of the file read so far (compressed ones for
    .gz).
    """
    with file.open("rb") as raw:
        text = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
        while batch := list(islice(text, _BATCH)):
            yield batch, raw.tell()
