"""The active segment and its recovery: P1 to P4 on real files, with errors of the
system where they can be had.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import tracemalloc
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


def test_segment_that_is_recovered_while_it_is_created_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between open and lock nobody can tell it from an orphan, and a pass recovers
    orphans.
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


def test_active_segment_of_a_living_writer_is_neither_replaced_nor_recovered(tmp_path: Path) -> None:
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
    "deed",
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
def test_segment_that_somebody_touched_is_not_written_to(tmp_path: Path, deed: Callable[[Path], None]) -> None:
    data, segment = open_segment(tmp_path)
    segment.commit(ONE, 1)
    deed(data.active("0"))
    with pytest.raises(SegmentDisplaced) as caught:
        segment.commit(TWO, 1)
    assert not caught.value.written
    segment.close()


def test_short_writes_are_finished_or_undone(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel write what fits and refuse the rest: in a child,
    for limits stay.
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
    assert not (data.log / name.checksum).exists(), "nobody vouches for its bytes"
    (found,) = sealed_segments(data)
    assert not digest(found).intact


def test_recovery_keeps_every_good_line_wherever_it_stands(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    torn = TWO[: len(TWO) // 2]
    data.active("0").write_bytes(ONE + b"garbage\n" + TWO + torn)
    recovered = recover(data, "0")
    assert recovered is not None
    assert (recovered.lines, recovered.quarantined) == (2, 2)
    (found,) = sealed_segments(data)
    assert found.path.read_bytes() == ONE + TWO
    assert digest(found).intact
    (kept,) = data.quarantine.iterdir()
    assert kept.read_text().count("\n") == 2
    assert not data.active("0").exists()


def test_quarantine_of_one_orphan_never_replaces_that_of_another(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(5):
        data.active("0").write_bytes(b"torn-%d" % number)
        recover(data, "0")
    assert len(list(data.quarantine.iterdir())) == 5


@pytest.mark.parametrize("content", [b"", b"torn", ONE[:-1]], ids=["empty", "torn", "no newline"])
def test_recovery_of_nothing_good_seals_nothing(tmp_path: Path, content: bytes) -> None:
    data = data_directory(tmp_path)
    data.active("0").write_bytes(content)
    recovered = recover(data, "0")
    assert recovered is not None and recovered.sealed is None
    assert list(data.log.iterdir()) == []
    assert len(list(data.quarantine.iterdir())) == (1 if content else 0)


def test_truncation_at_every_byte_never_yields_a_line_that_was_not_written(tmp_path: Path) -> None:
    whole = ONE + TWO
    for length in range(len(whole) + 1):
        data = data_directory(tmp_path / str(length))
        data.active("0").write_bytes(whole[:length])
        recover(data, "0")
        kept = b"".join(found.path.read_bytes() for found in sealed_segments(data))
        assert kept == (whole if length == len(whole) else ONE if length >= len(ONE) else b"")


def test_recovery_that_was_killed_after_its_seal_gives_the_same_bytes(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    data.active("0").write_bytes(ONE + b"torn")
    recover(data, "0")
    before = {path.name: path.read_bytes() for path in data.log.iterdir()}
    data.active("0").write_bytes(ONE + b"torn")  # as if it had died before it removed the orphan
    again = recover(data, "0")
    assert again is not None and again.sealed is not None
    assert {path.name: path.read_bytes() for path in data.log.iterdir()} == before


def test_checksum_of_a_seal_that_was_killed_before_its_rename_is_removed(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    stray = data.log / "20261122T120000Z-0-0000000001.sha256"
    stray.write_text(f"{hashlib.sha256(ONE).hexdigest()}  {stray.stem}.ndjson\n")
    data.active("0").write_bytes(ONE)
    recovered = recover(data, "0")
    assert recovered is not None and recovered.sealed is not None
    assert sorted(path.suffix for path in data.log.iterdir()) == [".ndjson", ".sha256"]


def test_recovery_removes_what_one_that_was_killed_had_not_published(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    mine = (
        data.log / ".20261122T120000Z-0-0000000001.ndjson.77.77.tmp",
        data.log / ".20261122T120000Z-0-0000000001.sha256.77.77.tmp",
        data.quarantine / ".recovered-0-0123456789abcdef.ndjson.77.77.tmp",
    )
    of_another = data.log / ".20261122T120000Z-import-0000000001.ndjson.78.78.tmp"
    for path in (*mine, of_another):
        path.write_bytes(ONE)
    data.active("0").write_bytes(ONE + b"torn")
    recover(data, "0")
    assert [path for path in mine if path.exists()] == []
    assert of_another.exists()


def test_recovery_that_was_killed_twice_leaves_nothing_unpublished(tmp_path: Path) -> None:
    """Once the second one has sealed under the number that the first had chosen, what
    the first wrote is looked for no more.
    """
    data = data_directory(tmp_path)
    (data.log / ".20261122T120000Z-0-0000000001.ndjson.77.77.tmp").write_bytes(ONE)
    (data.log / ".20261122T120000Z-0-0000000001.sha256.77.77.tmp").write_bytes(b"")
    data.active("0").write_bytes(ONE + b"torn")
    child = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from shared.disk.layout import DataDirectory
        from shared.segments.recovery import recover
        from shared.segments.sealed import sealed_segments

        data = DataDirectory(Path(sys.argv[1]))
        unlink = Path.unlink

        def die_once_sealed(path, missing_ok=False):
            if any(sealed_segments(data)):
                os.kill(os.getpid(), signal.SIGKILL)
            unlink(path, missing_ok)

        Path.unlink = die_once_sealed
        recover(data, "0")
    """)
    killed = subprocess.run([sys.executable, "-c", child, str(data.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert data.active("0").exists()
    recover(data, "0")
    assert not data.active("0").exists()
    assert [path.name for path in data.root.rglob("*.tmp")] == []
    assert [segment.path.read_bytes() for segment in sealed_segments(data)] == [ONE]


def test_sequence_numbers_rise_and_are_per_writer(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for expected in (1, 2):
        assert next_sequence(data, "0") == expected
        segment = ActiveSegment(data, "0", expected, "fsync")
        segment.commit(ONE, 1)
        segment.seal()
    assert next_sequence(data, "import") == 1


def test_commit_to_a_closed_directory_says_why(tmp_path: Path) -> None:
    _, segment = open_segment(tmp_path)
    os.close(segment._descriptor)
    read_only = os.open(segment.path, os.O_RDONLY)
    segment._descriptor = read_only
    with pytest.raises((CommitFailed, OSError)) as caught:
        segment.commit(ONE, 1)
    assert str(segment.path) in str(caught.value)
    segment.close()


def test_every_line_of_a_segment_is_good(tmp_path: Path) -> None:
    data, segment = open_segment(tmp_path)
    segment.commit(ONE + TWO, 2)
    name = segment.seal()
    assert name is not None
    assert parse_segment(name.file) == name
    assert [line_error(each) for each in (data.log / name.file).read_bytes().splitlines(keepends=True)] == [None, None]


def test_damage_of_any_size_is_recovered_in_little_memory(tmp_path: Path) -> None:
    """A hole in the middle, as some file systems leave it: no newline for 64 MiB."""
    data = data_directory(tmp_path)
    with data.active("0").open("wb") as file:
        file.write(ONE)
        file.truncate(len(ONE) + (64 << 20))
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + TWO)
    tracemalloc.start()
    try:
        recovered = recover(data, "0")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    assert recovered is not None
    assert recovered.lines == 2
    assert recovered.quarantined == 65  # pieces of a MiB, and the newline after them
    (sealed,) = sealed_segments(data)
    assert sealed.path.read_bytes() == ONE + TWO
    (kept,) = data.quarantine.iterdir()
    with kept.open("rb") as rows:
        assert sum(len(base64.b64decode(json.loads(row)["base64"])) for row in rows) == (64 << 20) + 1
