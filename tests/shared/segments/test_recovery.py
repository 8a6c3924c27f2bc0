"""Recovery of an active segment whose writer died: every good line is kept, wherever it
stands, and a killed recovery leaves the same bytes when it runs again (P2, P3).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import pytest

from ingest.collect.encode import encode_lines
from shared.segments.recovery import recover
from shared.segments.sealed import digest, sealed_segments
from tests.builders.logs import data_directory, line

ONE = encode_lines([line("event-1")])
TWO = encode_lines([line("event-2")])


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


def test_quarantine_files_of_two_recoveries_are_never_the_same(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(5):
        data.active("0").write_bytes(b"torn-%d" % number)
        recover(data, "0")
    assert len(list(data.quarantine.iterdir())) == 5


@pytest.mark.parametrize("content", [b"", b"torn", ONE[:-1]], ids=["empty", "torn", "no newline"])
def test_recovery_without_a_good_line_seals_nothing(tmp_path: Path, content: bytes) -> None:
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


def test_recovery_killed_after_its_seal_gives_the_same_bytes(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    data.active("0").write_bytes(ONE + b"torn")
    recover(data, "0")
    before = {path.name: path.read_bytes() for path in data.log.iterdir()}
    data.active("0").write_bytes(ONE + b"torn")  # as if the recovery was killed before it removed the segment
    again = recover(data, "0")
    assert again is not None and again.sealed is not None
    assert {path.name: path.read_bytes() for path in data.log.iterdir()} == before


def test_checksum_of_a_seal_killed_before_its_rename_is_removed(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    stray = data.log / "20261122T120000Z-0-0000000001.sha256"
    stray.write_text(f"{hashlib.sha256(ONE).hexdigest()}  {stray.stem}.ndjson\n")
    data.active("0").write_bytes(ONE)
    recovered = recover(data, "0")
    assert recovered is not None and recovered.sealed is not None
    assert sorted(path.suffix for path in data.log.iterdir()) == [".ndjson", ".sha256"]


def test_recovery_removes_temporary_files_of_a_killed_one(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    mine = (
        data.log / ".20261122T120000Z-0-0000000001.ndjson.77.77.tmp",
        data.log / ".20261122T120000Z-0-0000000001.sha256.77.77.tmp",
        data.quarantine / ".recovered-0-0123456789abcdef.ndjson.77.77.tmp",
    )
    of_another_writer = data.log / ".20261122T120000Z-import-0000000001.ndjson.78.78.tmp"
    for path in (*mine, of_another_writer):
        path.write_bytes(ONE)
    data.active("0").write_bytes(ONE + b"torn")
    recover(data, "0")
    assert [path for path in mine if path.exists()] == []
    assert of_another_writer.exists()


def test_recovery_killed_twice_leaves_no_temporary_file(tmp_path: Path) -> None:
    """The second one seals under the number that the first had chosen, so temporary
    files are no longer searched for that number.
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
    assert recovered.quarantined == 2  # the zeros, and the newline after them
    (sealed,) = sealed_segments(data)
    assert sealed.path.read_bytes() == ONE + TWO
    (kept,) = data.quarantine.iterdir()
    rows = [json.loads(row) for row in kept.read_bytes().splitlines()]
    assert rows[0] == {"file": "active-0.ndjson", "offset": len(ONE), "reason": "zeros", "zeros": 64 << 20}
    assert base64.b64decode(rows[1]["base64"]) == b"\n"


def test_zeros_behind_the_last_line_are_noted_not_copied(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    with data.active("0").open("wb") as file:
        file.write(ONE)
        file.truncate(len(ONE) + (3 << 20) + 5)
    recovered = recover(data, "0")
    assert recovered is not None
    assert (recovered.lines, recovered.quarantined) == (1, 1)
    (kept,) = data.quarantine.iterdir()
    assert json.loads(kept.read_bytes())["zeros"] == (3 << 20) + 5
    assert kept.stat().st_size < 200


def test_few_zeros_are_kept_byte_for_byte(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    data.active("0").write_bytes(ONE + bytes(99))
    recover(data, "0")
    (kept,) = data.quarantine.iterdir()
    assert base64.b64decode(json.loads(kept.read_bytes())["base64"]) == bytes(99)
