"""Crash clones: whatever a crash leaves after any operation, nothing acknowledged is
lost, nothing counts twice (P1 to P8).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.disk.durable import publish
from tests.faults.clones import run_story
from tests.faults.crash import HOWS, Disk, How
from tests.faults.record import Recorder, Sync, SyncDirectory, Tree, Write, read_tree

pytestmark = pytest.mark.crash

ALL = 10_000
# A seed, and about how many of its clones are opened: how many there are depends on how
# the writer's thread and the callers take turns.
STORIES = {"some": (3, 500), "all": (1, ALL)}
# Fewer would prove little: clones, different directories, those that were folded.
LEAST = {"some": (300, 60, 10), "all": (500, 100, 20)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", [pytest.param("some"), pytest.param("all", marks=pytest.mark.long)])
def test_no_crash_loses_repeats_or_invents_an_event(story: str) -> None:
    seed, limit = STORIES[story]
    tried = run_story(seed, limit, lies=False, each=1)
    assert tried.found == []
    clones, directories, folded = LEAST[story]
    assert tried.clones > clones
    assert tried.acknowledged > 15
    assert tried.directories > directories
    assert tried.folded > folded


def test_disk_that_lies_about_its_syncs_is_found_out() -> None:
    """The control: a harness that cannot see a loss proves nothing."""
    tried = run_story(1, 300, lies=True)
    assert any(violations.lost for _, violations in tried.found)


# What the model of a crash can do, on one published file and one that is appended to.


def crashes(root: Path, deed: Callable[[], object], how: How, *, lies: bool = False) -> list[Tree]:
    """What is drawn, again and again, of crashes right after `deed`."""
    with Recorder(root, lies=lies) as recorder:
        deed()
    disk = Disk(recorder.began_with)
    for operation in recorder.operations:
        disk.follow(operation)
    draw = random.Random(5)
    return [disk.crash(how, draw) for _ in range(50)]


@pytest.mark.parametrize("how", HOWS)
def test_what_was_published_survives_every_crash(tmp_path: Path, how: How) -> None:
    found = crashes(tmp_path, lambda: publish(tmp_path / "a" / "file", b"content"), how)
    assert found == [{"a": None, "a/file": b"content"}] * 50


def test_file_that_was_not_synced_before_its_rename_may_be_empty(tmp_path: Path) -> None:
    def hasty() -> None:
        (tmp_path / "beside").write_bytes(b"content")
        os.rename(tmp_path / "beside", tmp_path / "file")

    found = {tree.get("file") for tree in crashes(tmp_path, hasty, "torn")}
    assert found >= {None, b"", b"content", b"con"}
    (tmp_path / "file").unlink()
    assert {tree.get("file") for tree in crashes(tmp_path, hasty, "lost")} == {None}
    (tmp_path / "file").unlink()
    assert {tree.get("file") for tree in crashes(tmp_path, hasty, "kept")} == {b"content"}


def append(path: Path, *blobs: bytes, sync: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for blob in blobs:
        os.write(descriptor, blob)
    if sync:
        os.fdatasync(descriptor)
    os.close(descriptor)


def test_synced_bytes_survive_and_their_name_only_with_its_directory(tmp_path: Path) -> None:
    found = crashes(tmp_path, lambda: append(tmp_path / "log", b"one", b"two", sync=True), "some")
    assert {tree.get("log") for tree in found} == {None, b"onetwo"}


def test_unsynced_bytes_may_be_lost_torn_or_zeros(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"", sync=False)
    found = {tree["log"] or b"" for tree in crashes(tmp_path, lambda: append(path, b"x" * 2000, sync=False), "torn")}
    assert b"" in found
    assert any(0 < len(content) < 2000 and b"\0" not in content for content in found)
    assert any(b"\0" * 100 in content and b"x" in content for content in found)


def test_name_is_taken_again_only_once_it_was_free(tmp_path: Path) -> None:
    append(tmp_path / "active", b"old", sync=False)

    def seal_and_reopen() -> None:
        os.rename(tmp_path / "active", tmp_path / "sealed")
        append(tmp_path / "active", b"new", sync=True)

    for tree in crashes(tmp_path, seal_and_reopen, "some"):
        assert b"old" in tree.values()


def test_record_holds_what_was_done_and_its_syncs(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        publish(tmp_path / "file", b"content")
    kinds = [type(operation).__name__ for operation in recorder.operations]
    assert kinds == ["Names", "Write", "Sync", "Names", "SyncDirectory"]
    with Recorder(tmp_path, lies=True) as lying:
        publish(tmp_path / "file", b"another")
    assert not any(isinstance(operation, Sync | SyncDirectory) for operation in lying.operations)
    assert any(isinstance(operation, Write) and operation.content == b"another" for operation in lying.operations)
    assert read_tree(tmp_path) == {"file": b"another"}
