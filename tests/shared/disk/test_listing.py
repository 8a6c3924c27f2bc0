"""Temporary files of a killed process are found by their target and their age."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shared.disk.listing import list_files, temp_files


def test_files_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).touch()
    assert list_files(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert list_files(tmp_path / "missing") == []


def test_directory_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        list_files(tmp_path / "file")


def test_temporary_files_are_those_of_a_target(tmp_path: Path) -> None:
    for name in (".snapshot.json.7.8.tmp", ".tokens.json.7.8.tmp", "snapshot.json", ".snapshot.json.tmp"):
        (tmp_path / name).touch()
    assert [path.name for path in temp_files(tmp_path, lambda target: target == "snapshot.json")] == [
        ".snapshot.json.7.8.tmp"
    ]


@pytest.mark.parametrize(("age_s", "is_found"), [(0, False), (59, False), (61, True), (-61, True)])
def test_file_that_may_still_be_written_is_left_out(tmp_path: Path, age_s: float, is_found: bool) -> None:
    path = tmp_path / ".snapshot.json.7.8.tmp"
    path.touch()
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    assert (list(temp_files(tmp_path, lambda _target: True, idle_s=60)) == [path]) == is_found
