"""Directories and files that survive a crash once they are used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shared.disk.durable import make_data_directory, make_directory, publish
from shared.disk.layout import DataDirectory
from tests.faults.record import Recorder, SyncDirectory


def fail_to_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sync fails as on a full disk, until the patch is undone."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)


def test_directory_whose_parent_was_not_synced_is_synced_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = tmp_path / "archive" / "2026-12-01"
    publish(day.parent / "2026-11-30" / "part", b"content")
    with monkeypatch.context() as patched:
        fail_to_sync(patched)
        with pytest.raises(OSError, match="No space left"):
            make_directory(day)
    assert day.is_dir(), "it is there, and a power cut could take it"

    with Recorder(tmp_path) as recorder:
        publish(day / "part", b"content")
    synced = [operation.directory for operation in recorder.operations if isinstance(operation, SyncDirectory)]
    assert synced.index("archive") < synced.index("archive/2026-12-01")


def test_directory_in_use_costs_no_further_sync(tmp_path: Path) -> None:
    publish(tmp_path / "day" / "part", b"content")
    with Recorder(tmp_path) as recorder:
        make_directory(tmp_path / "day")
    assert recorder.operations == []


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o000])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    data, before = DataDirectory(tmp_path / "data"), os.umask(umask)
    try:
        make_data_directory(data)
        publish(data.log / "a", b"")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (data.root, data.log, data.private, data.log / "a")}
    assert modes == {"data": 0o750, "log": 0o750, "private": 0o700, "a": 0o640}
