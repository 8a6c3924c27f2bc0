"""What may still come from this host besides new events: lines of its log that a
generation does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from shared.disk.compression import DecompressionError
from shared.disk.layout import DataDirectory, parse_rotated
from shared.disk.listing import list_files
from shared.generations.snapshot import Snapshot
from shared.segments.sealed import active_segments, readable_lines, sealed_segments


class _Line(msgspec.Struct):
    received: datetime


_LINE = msgspec.json.Decoder(_Line)


def received_days(data: DataDirectory, published: Snapshot) -> Iterator[date]:
    """For each file with lines that a generation does not have, the UTC day on which
    its first line was received: also of a writer that died long ago.
    """
    unfolded = [each.path for each in sealed_segments(data) if not published.has_folded(each.name)]
    rotated = [path for path in list_files(data.log) if parse_rotated(path.name)]
    for path in (*unfolded, *rotated, *active_segments(data).values()):
        with suppress(FileNotFoundError):  # sealed, compressed or folded meanwhile
            if path.stat().st_size:
                yield _first_received(path)


def _first_received(path: Path) -> date:
    with suppress(DecompressionError):
        for line in readable_lines(path):
            with suppress(msgspec.DecodeError):
                return _LINE.decode(line).received.astimezone(UTC).date()
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
