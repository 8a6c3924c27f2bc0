"""What a report spills is its own, is deleted, and leaves the reserve of the disk."""

from __future__ import annotations

import io
import os
import signal
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.reader.client import ReaderClient
from reports.reader.process import write_export
from reports.reader.protocol import ReaderRequest
from shared.disk.layout import DataDirectory
from shared.disk.spill import NoScratch, own_spill, spill_max_bytes, sweep_spill
from shared.settings import Settings
from tests.builders.logs import data_directory
from tests.builders.processes import children
from tests.builders.waiting import until_async


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return data_directory(tmp_path / "data")


def test_directory_is_private_and_gone_afterwards(data: DataDirectory) -> None:
    with own_spill(data) as spill:
        assert spill.parent == data.report_spill
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (spill, data.report_spill)}
        assert modes == {0o700}
        (spill / "events").write_bytes(b"x")
    assert list(data.report_spill.iterdir()) == []


def test_only_what_dead_processes_left_is_swept(data: DataDirectory) -> None:
    with own_spill(data) as spill:
        (spill / "events").write_bytes(b"x")
        left = data.report_spill / "left"
        left.mkdir()
        (left / "events").write_bytes(b"x")
        sweep_spill(data)
        assert list(data.report_spill.iterdir()) == [spill]
        assert (spill / "events").exists()
        with own_spill(data) as other:
            assert sorted(data.report_spill.iterdir()) == sorted([spill, other])


def test_data_that_cannot_be_written_to_is_not_needed(data: DataDirectory) -> None:
    data.report_spill.write_bytes(b"not a directory")
    with own_spill(data) as spill:
        assert data.root not in spill.parents
    assert not spill.exists()


def test_nowhere_for_temporary_files_is_said(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the data may only be read and there is no /tmp."""
    data.report_spill.write_bytes(b"not a directory")
    monkeypatch.setattr(tempfile, "tempdir", str(data.root / "none"))
    with pytest.raises(NoScratch, match=r"not in FOLDLOG_DATA_DIR .*, nor in TMPDIR"), own_spill(data):
        pass
    request = ReaderRequest("export", str(data.root), "UTC", 64 << 20, 0, "ndjson", {}, datetime.now(UTC))
    out = io.BytesIO()
    write_export(request, out)
    assert b"report_failed" in out.getvalue() and b"no directory for temporary files" in out.getvalue()


def test_reserve_of_the_disk_is_left_free(data: DataDirectory) -> None:
    found = os.statvfs(data.root)
    free = found.f_bavail * found.f_frsize
    assert 0 < spill_max_bytes(data, 0) < free
    assert spill_max_bytes(data, 2 * free) == 0


async def test_killed_process_leaves_no_events(data: DataDirectory) -> None:
    before = set(children(os.getpid()))
    client = ReaderClient(Settings(data_dir=data.root))
    await client.report({}, "json")
    (reader,) = set(children(os.getpid())) - before
    (spill,) = data.report_spill.iterdir()
    (spill / "events").write_bytes(b"x")
    os.kill(reader, signal.SIGSTOP)
    await client.close()
    await until_async(lambda: not spill.exists())


def test_worker_sweeps_what_a_crash_left(data: DataDirectory) -> None:
    (data.report_spill / "left").mkdir(parents=True)
    ReaderClient(Settings(data_dir=data.root))
    assert list(data.report_spill.iterdir()) == []
