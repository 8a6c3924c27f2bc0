"""Sealed segments made of the rows of a store: lines that were acknowledged and that
this directory does not have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain, groupby
from typing import NamedTuple

import msgspec

from shared.disk.durable import publish, publishing
from shared.disk.layout import DataDirectory, SegmentName
from shared.segments.line import scan_lines
from shared.segments.recovery import current_second
from shared.segments.sealed import sha256_line
from shared.stores.postgres.log_rows import LogRow


class _Line(msgspec.Struct):
    received: str


_LINE = msgspec.json.Decoder(_Line)


class Restored(NamedTuple):
    """A segment, and how many lines it has."""

    name: SegmentName
    lines: int


def restore_segments(
    data: DataDirectory, rows: Iterable[LogRow], sealed_at: Mapping[tuple[str, int], datetime] | None = None
) -> Iterator[Restored]:
    """Seal rows, which come by writer and place, under the numbers of their segments.
    `sealed_at`: when segments were sealed of which that is known; of others it is when
    their first line was received, so that no line in them is older than they seem.
    """
    for (writer, sequence), its_rows in groupby(rows, key=lambda row: (row.writer, row.sequence)):
        first = next(its_rows)
        at = (sealed_at or {}).get((writer, sequence)) or _received(first.lines)
        name = SegmentName(writer, sequence, at)
        yield Restored(name, _restore(data, name, chain([first], its_rows)))  # noqa: B031  the rest, once


def _received(lines: bytes) -> datetime:
    """Of the first line."""
    try:
        received = _LINE.decode(lines.partition(b"\n")[0]).received
        return datetime.fromisoformat(received).replace(microsecond=0)
    except (msgspec.MsgspecError, ValueError):
        return current_second()  # the fold puts such a line into quarantine


def _restore(data: DataDirectory, name: SegmentName, rows: Iterable[LogRow]) -> int:
    """Returns the number of lines. Where one is not valid there is no `.sha256`, so
    that the fold looks at each.
    """
    sha256, lines, end, is_valid = hashlib.sha256(), 0, 0, True
    with publishing(data.log / name.file) as beside:
        with beside.open("xb") as file:
            for row in rows:
                new = row.lines[max(0, end - row.first_byte) :]
                end = max(end, row.first_byte + len(row.lines))
                scanned = list(scan_lines(new.splitlines(keepends=True)))
                is_valid = is_valid and not any(line.reason for line in scanned)
                lines += len(scanned)
                sha256.update(new)
                file.write(new)
        if is_valid:
            publish(data.log / name.checksum, sha256_line(sha256.hexdigest(), name.file))
    return lines
