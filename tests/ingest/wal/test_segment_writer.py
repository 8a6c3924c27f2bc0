"""The thread half of group commit, without a thread: a group is on disk or has an
error, and a seal is due by size, by age and once per request.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment, CommitFailed, SegmentSuspect
from ingest.wal.segment_writer import DISPLACED_RETRIES, SegmentWriter
from ingest.wal.unavailable import DiskFull, Unavailable
from shared.disk.control_files import touch
from shared.disk.layout import DataDirectory
from shared.segments.recovery import WriterAlive
from shared.segments.sealed import digest, sealed_segments
from shared.settings import Settings
from shared.worker_stats import WorkerStats
from tests.builders.logs import data_directory, line
from tests.builders.silent_log import SilentLog

ONE = encode_lines([line("event-1")])


def open_writer(data: DataDirectory, log: SilentLog | None = None, **settings: Any) -> SegmentWriter:
    return SegmentWriter(data, "0", Settings(data_dir=data.root, **settings), log or SilentLog(), WorkerStats())


def sealed(data: DataDirectory) -> list[bytes]:
    return [segment.path.read_bytes() for segment in sealed_segments(data)]


def test_committed_lines_are_on_disk_and_counted(tmp_path: Path) -> None:
    data, stats = data_directory(tmp_path), WorkerStats()
    writer = SegmentWriter(data, "0", Settings(data_dir=data.root), SilentLog(), stats)
    assert writer.commit(ONE, 1) is None
    assert data.active("0").read_bytes() == ONE
    assert (stats.log_bytes, stats.group_events.sum, stats.commit_failures) == (len(ONE), 1, 0)
    writer.close()
    assert (sealed(data), stats.segments_sealed) == ([ONE], 1)


def test_second_writer_of_the_same_name_cannot_open(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = open_writer(data)
    with pytest.raises(WriterAlive):
        open_writer(data)
    writer.close()


def test_empty_segment_is_never_due(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = open_writer(data, segment_max_bytes=1, segment_max_age=0)
    writer.seals.request()
    assert not writer.seal_if_due()
    writer.close()
    assert sealed(data) == []


def test_segment_is_sealed_by_size(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = open_writer(data, segment_max_bytes=2 * len(ONE))
    for due in (False, True, False):
        writer.commit(ONE, 1)
        assert writer.seal_if_due() is due
    assert sealed(data) == [ONE * 2]
    writer.close()


def test_age_counts_from_the_first_line(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = open_writer(data, segment_max_age=60)
    assert writer.seals.due_at == float("inf")
    writer.commit(ONE, 1)
    due_at = writer.seals.due_at
    assert 0 < due_at - time.monotonic() <= 60
    writer.commit(ONE, 1)
    assert writer.seals.due_at == due_at
    assert not writer.seal_if_due()
    writer.seals.due_at = 0
    assert writer.seal_if_due()
    assert writer.seals.due_at == float("inf")
    writer.close()


@pytest.mark.parametrize("by", ["file", "signal"])
def test_request_seals_once_and_no_later_segment(tmp_path: Path, by: str) -> None:
    data = data_directory(tmp_path)
    writer = open_writer(data)

    def request_seal() -> None:
        if by == "file":
            touch(data.seal_request)
        else:
            writer.seals.request()

    request_seal()
    writer.maintain()  # nothing to seal: the request is used up
    writer.commit(ONE, 1)
    assert not writer.seal_if_due()
    request_seal()
    assert (writer.seal_if_due(), writer.seal_if_due()) == (True, False)
    writer.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CommitFailed("no space", full=True), DiskFull),
        (CommitFailed("an error"), Unavailable),
        (OSError(errno.ENOSPC, "no space"), DiskFull),
        (OSError(errno.EDQUOT, "quota"), DiskFull),
        (OSError(errno.EACCES, "no access"), Unavailable),
    ],
    ids=str,
)
def test_failed_commit_is_reported_and_the_next_may_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Unavailable]
) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = open_writer(data, log)

    def fail(_segment: ActiveSegment, _blob: bytes, _lines: int) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ActiveSegment, "commit", fail)
        assert type(writer.commit(ONE, 1)) is kind
    assert (log.events(), writer.failed_at > 0) == (["commit_failed"], True)
    assert writer.commit(ONE, 1) is None
    assert writer.failed_at == float("-inf")
    writer.close()
    assert sealed(data) == [ONE]


def test_failed_sync_is_not_repeated_and_seals_the_segment_as_suspect(tmp_path: Path) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = open_writer(data, log)
    syncs: list[int] = []

    def fail(descriptor: int) -> None:
        syncs.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert writer.active is not None
    writer.active._sync = fail
    with pytest.raises(SegmentSuspect) as suspect:
        writer.commit(ONE, 1)
    writer.fail(suspect.value)
    assert (len(syncs), log.events()) == (1, ["segment_suspect"])
    (segment,) = sealed_segments(data)
    assert not digest(segment).intact


def test_commit_gives_up_after_5_displaced_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_directory(tmp_path)
    writer = open_writer(data)
    real, commits = ActiveSegment.commit, []

    def displace(segment: ActiveSegment, blob: bytes, lines: int) -> None:
        commits.append(blob)
        segment.path.unlink()
        real(segment, blob, lines)

    with monkeypatch.context() as patch:
        patch.setattr(ActiveSegment, "commit", displace)
        assert type(writer.commit(ONE, 1)) is Unavailable
    assert len(commits) == DISPLACED_RETRIES
    assert writer.commit(ONE, 1) is None
    writer.close()
    assert sealed(data) == [ONE]
