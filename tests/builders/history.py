"""Directories with days of history, as months of service leave them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from shared.disk.layout import DataDirectory, SegmentName
from shared.generations.load import load_snapshot
from shared.segments.sealed import sha256_line
from shared.timestamps import DAY_S
from tests.builders.logs import data_directory, fold, line, sealed

DAY_MS = DAY_S * 1000
HOUR_MS = 3_600_000


def history(root: Path, days: int, now: int, name: str = "day") -> DataDirectory:
    """A directory with events of so many days that end ten days before `now`, folded
    then; the clock is trusted again. Their ids begin with `name`. A copy where one was
    made before.
    """
    shutil.copytree(_template(days, now, name), root, dirs_exist_ok=True)
    return DataDirectory(root)


@cache
def _template(days: int, now: int, name: str) -> Path:
    place = Path(tempfile.mkdtemp(prefix="foldlog-history-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    data = data_directory(place)
    begins = now - 10 * DAY_MS
    for number in range(days):
        moment = begins - (days - 1 - number) * DAY_MS
        lines = [line(f"{name}-{number:03d}-{n}", moment, begins, visitor=f"v-{n % 2}-{number % 3}") for n in range(3)]
        seal_at(data, lines, moment)
    for hours in (0, 180, 181, 228, 229):  # a jump of a week, and 48 hours after it
        fold(data, begins + hours * HOUR_MS)
    assert load_snapshot(data).retention.skipped is None
    assert len(load_snapshot(data).days) == days
    return place


def seal_at(data: DataDirectory, lines: list[Any], at_ms: int) -> SegmentName:
    """A segment as if it had been sealed then."""
    name = sealed(data, lines)
    then = SegmentName(name.writer, name.sequence, datetime.fromtimestamp(at_ms // 1000, UTC))
    digest = (data.log / name.checksum).read_text("ascii").partition(" ")[0]
    (data.log / name.checksum).unlink()
    (data.log / then.checksum).write_bytes(sha256_line(digest, then.file))
    (data.log / name.file).rename(data.log / then.file)
    return then


def files(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Content and modification time (ns) of every file below a directory."""
    found = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}
