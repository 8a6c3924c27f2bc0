"""The active segment: P1, P3 and P4 on real files, with real errors of the system where
possible.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import lock_descriptor

from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment, CommitFailed, SegmentDisplaced, SegmentSuspect
from shared.disk.layout import DataDirectory, parse_segment
from shared.segments.line import line_error
from shared.segments.recovery import Recovered, WriterAlive, next_sequence, recover
from shared.segments.sealed import digest, sealed_segments
from tests.builders.logs import data_directory, line

ONE = encode_lines([line("event-1")])
TWO = encode_lines([line("event-2")])


def is_locked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return not lock_descriptor(descriptor, blocking=False)
    finally:
        os.close(descriptor)


def open_segment(tmp_path: Path) -> tuple[DataDirectory, ActiveSegment]:
    data = data_directory(tmp_path)
    return data, ActiveSegment(data, "0", 1, "fsync")


def test_open_means_locked_and_sealed_means_free(tmp_path: Path) -> None:
    data, segment = open_segment(tmp_path)
    assert is_locked(data.active("0"))
    segment.commit(ONE, 1)
    name = segment.seal()
    assert name is not None
    assert not data.active("0").exists()
    assert not is_locked(data.log / name.file)


def test_sealed_segment_has_the_checksum_that_sha256sum_checks(tmp_path: Path) -> None:
    data, segment = open_segment(tmp_path)
    segment.commit(ONE, 1)
    segment.commit(TWO, 1)
    name = segment.seal()
    assert name is not None
    assert (data.log / name.file).read_bytes() == ONE + TWO
    checked = subprocess.run(
        ["sha256sum", "--check", name.checksum],  # noqa: S607
        cwd=data.log,
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout == f"{name.file}: OK\n"


def test_segment_that_was_recovered_during_its_creation_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between open and lock it looks like the segment of a dead writer, which a pass
    recovers.
    """
    data = data_directory(tmp_path)
    recovered: list[Recovered | None] = []

    def lock_late(descriptor: int) -> bool:
        if not recovered:
            recovered.append(recover(data, "0"))
        return lock_descriptor(descriptor)

    monkeypatch.setattr("ingest.wal.active_segment.lock_descriptor", lock_late)
    segment = ActiveSegment(data, "0", 1, "fsync")
    assert recovered == [Recovered("0", None, 0, 0)]
    assert is_locked(data.active("0"))
    segment.commit(ONE, 1)
    assert segment.seal() is not None


def test_empty_segment_leaves_nothing(tmp_path: Path) -> None:
    data, segment = open_segment(tmp_path)
    assert segment.seal() is None
    assert list(data.log.iterdir()) == []


def test_segment_of_a_live_writer_is_neither_replaced_nor_recovered(tmp_path: Path) -> None:
    data, segment = open_segment(tmp_path)
    with pytest.raises(FileExistsError):
        ActiveSegment(data, "0", 1, "fsync")
    with pytest.raises(WriterAlive):
        recover(data, "0")
    segment.close()


def truncate(path: Path) -> None:
    os.truncate(path, 5)


def append_to(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)


@pytest.mark.parametrize(
    "act",
    [
        lambda path: path.rename(path.with_name("moved.1")),
        lambda path: path.unlink(),
        truncate,
        append_to,
        replace,
        lambda path: os.link(path, path.with_name("linked")),
    ],
    ids=["renamed", "deleted", "truncated", "appended to", "replaced", "linked"],
)
def test_displaced_segment_is_not_written_to(tmp_path: Path, act: Callable[[Path], None]) -> None:
    data, segment = open_segment(tmp_path)
    segment.commit(ONE, 1)
    act(data.active("0"))
    with pytest.raises(SegmentDisplaced) as caught:
        segment.commit(TWO, 1)
    assert not caught.value.written
    segment.close()


def test_short_write_is_completed_or_undone(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel write only what fits. In a child process, because
    the limit cannot be raised again.
    """
    child = textwrap.dedent(
        """
        import errno, resource, signal, sys
        from pathlib import Path
        from ingest.wal.active_segment import ActiveSegment, CommitFailed
        from tests.builders.logs import data_directory, line
        from ingest.collect.encode import encode_lines
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        data = data_directory(Path(sys.argv[1]))
        segment = ActiveSegment(data, "0", 1, "fsync")
        one = encode_lines([line("event-1")])
        segment.commit(one, 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(one) + int(sys.argv[2]), resource.RLIM_INFINITY))
        try:
            segment.commit(one, 1)
        except CommitFailed as error:
            assert error.full
            assert data.active("0").read_bytes() == one, "truncated back"
            sys.exit(3)
        """
    )
    for extra, expected in ((0, 3), (1, 3), (len(ONE) - 1, 3), (len(ONE), 0)):
        done = subprocess.run([sys.executable, "-c", child, str(tmp_path / str(extra)), str(extra)], check=False)
        assert done.returncode == expected, extra
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_failed_sync_makes_the_segment_suspect_and_is_not_repeated(tmp_path: Path) -> None:
    data, segment = open_segment(tmp_path)
    segment.commit(ONE, 1)
    calls = []

    def fail(descriptor: object) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    segment._sync = fail
    with pytest.raises(SegmentSuspect):
        segment.commit(TWO, 1)
    name = segment.seal_as_suspect()
    assert len(calls) == 1
    assert name is not None
    assert not (data.log / name.checksum).exists(), "its bytes on disk are unknown"
    (found,) = sealed_segments(data)
    assert not digest(found).intact


def test_sequence_numbers_rise_and_are_per_writer(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for expected in (1, 2):
        assert next_sequence(data, "0") == expected
        segment = ActiveSegment(data, "0", expected, "fsync")
        segment.commit(ONE, 1)
        segment.seal()
    assert next_sequence(data, "import") == 1


def test_error_of_a_commit_names_the_segment(tmp_path: Path) -> None:
    _, segment = open_segment(tmp_path)
    os.close(segment._descriptor)
    read_only = os.open(segment.path, os.O_RDONLY)
    segment._descriptor = read_only
    with pytest.raises((CommitFailed, OSError)) as caught:
        segment.commit(ONE, 1)
    assert str(segment.path) in str(caught.value)
    segment.close()


def test_every_line_of_a_sealed_segment_has_a_valid_crc(tmp_path: Path) -> None:
    data, segment = open_segment(tmp_path)
    segment.commit(ONE + TWO, 2)
    name = segment.seal()
    assert name is not None
    assert parse_segment(name.file) == name
    assert [line_error(each) for each in (data.log / name.file).read_bytes().splitlines(keepends=True)] == [None, None]
