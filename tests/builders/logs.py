"""Builders for tests: log lines, sealed segments and passes over them, made by the code
that makes them in service.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from compactor.fold.select_segments import PASS_MAX_BYTES
from compactor.lock import compactor_lock
from compactor.run_pass import Pass, run_pass
from ingest.collect.encode import Line, encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory, SegmentName
from shared.generations.load import load_snapshot
from shared.segments.line import SCHEMA_VERSION
from shared.segments.recovery import next_sequence
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.timestamps import epoch_ms, rfc3339
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S, until

NOON = epoch_ms("2026-11-22T12:00:00Z")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def line(id_: str, time_ms: int = NOON, received_ms: int | None = None, **fields: Any) -> Line:
    """A log line of example.com; `fields` are those of Line."""
    given = {"name": "pageview", "site": "example.com", "visitor": "visitor-1", "ua": FIREFOX, "consent": "granted"}
    received = rfc3339(time_ms if received_ms is None else received_ms)
    return Line(id=id_, time=rfc3339(time_ms), received=received, **{"v": SCHEMA_VERSION, **given, **fields})


def data_directory(root: Path) -> DataDirectory:
    data = DataDirectory(root)
    make_data_directory(data)
    return data


def sealed(data: DataDirectory, lines: Iterable[Line], writer: str = "0") -> SegmentName:
    """Write and seal one segment."""
    written = list(lines)
    segment = ActiveSegment(data, writer, next_sequence(data, writer), "fsync")
    segment.commit(encode_lines(written), len(written))
    name = segment.seal()
    assert name is not None
    return name


def fold(
    data: DataDirectory,
    now_ms: int = NOON,
    max_bytes: int = PASS_MAX_BYTES,
    log: SilentLog | None = None,
    **settings: Any,
) -> Pass:
    """One pass."""
    with compactor_lock(data) as lock:
        return run_pass(data, Settings(data_dir=data.root, **settings), log or SilentLog(), lock, now_ms, max_bytes)


def fold_all(data: DataDirectory, now_ms: int = NOON, **settings: Any) -> Pass:
    """Passes until nothing is left."""
    while True:
        done = fold(data, now_ms, **settings)
        if not done.more:
            return done


def tally(values: Iterable[Any]) -> dict[Any, int]:
    return dict(Counter(values))


def lose_a_segment(data: DataDirectory) -> threading.Thread:
    """Delete the first segment that is sealed and not folded, as a bad disk or a hasty
    operator would, once there is one.

    Under the compactor's lock: a pass may have read it already, and nothing would be
    lost with it. Once its writer has closed it: a writer whose file disappears while it
    is sealed seals a copy, and nothing would be lost either.
    """

    def deleted() -> bool:
        if not (data.log.is_dir() and sealed_segments(data)):
            return False
        with compactor_lock(data, TIMEOUT_S):
            for segment in sealed_segments(data):
                if not load_snapshot(data).has_folded(segment.name) and _is_closed(segment.path):
                    segment.path.unlink()
                    segment.checksum.unlink()
                    return True
        return False

    thief = threading.Thread(target=until, args=(deleted,))
    thief.start()
    return thief


def _is_closed(path: Path) -> bool:
    with path.open("rb") as file:
        return lock_descriptor(file.fileno(), blocking=False)
