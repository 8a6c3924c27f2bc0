"""Lines that cannot be folded, kept byte for byte in quarantine/ with the reason."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

import orjson

from shared.disk.durable import publishing
from shared.disk.layout import DataDirectory
from shared.segments.line import ScannedLine
from shared.segments.sealed import count_lines

RECOVERED_PREFIX = "recovered-"
# Fewer zeros may be part of a line; a crash leaves whole blocks of them.
ZEROS_MIN_BYTES = 4096


def publish_quarantine(data: DataDirectory, stem: str, source: str, bad: Iterable[ScannedLine]) -> None:
    """Publish invalid lines of the file `source` as `<stem>.ndjson`: each in base64,
    with its offset and reason; of zeros, their number.
    """
    with publishing(data.quarantine / f"{stem}.ndjson") as beside, beside.open("xb") as file:
        for line, zeros in with_zeros_joined(bad):
            row: dict[str, object] = {"file": source, "offset": line.offset, "reason": line.reason}
            row |= {"zeros": zeros} if zeros else {"base64": base64.b64encode(line.content).decode("ascii")}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def with_zeros_joined(bad: Iterable[ScannedLine]) -> Iterator[tuple[ScannedLine, int]]:
    """The lines, where what follows one another and is nothing but zeros is one, with
    their number: a file system that allocated blocks before a crash leaves them behind
    the last line, and they may be more than the disk has room for.
    """
    joined: ScannedLine | None = None
    zeros = 0
    for line in bad:
        is_zeros = not line.content.strip(b"\0") and len(line.content) >= (1 if joined else ZEROS_MIN_BYTES)
        if joined and is_zeros and line.offset == joined.offset + zeros:
            zeros += len(line.content)
            continue
        if joined:
            yield joined, zeros
        joined, zeros = (line._replace(reason="zeros"), len(line.content)) if is_zeros else (None, 0)
        if not joined:
            yield line, 0
    if joined:
        yield joined, zeros


def lines_quarantined_by_recovery(data: DataDirectory) -> int:
    """The number of lines in all files that recovery has quarantined."""
    return sum(count_lines(path) for path in data.quarantine.glob(f"{RECOVERED_PREFIX}*.ndjson"))
