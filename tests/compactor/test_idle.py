"""A pass that found nothing publishes nothing, and what asks when the compactor last
looked learns it from the mark.

The clock is the test's own: days pass without a wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compactor import run_pass
from compactor.process import compact_once
from shared.disk.control_files import request_fold
from shared.disk.layout import DataDirectory
from shared.disk.marks import read_mark
from shared.erasures import create_request, pending_requests
from shared.generations.last_look import last_pass_ms, last_retention
from shared.generations.load import kept_generations, load_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from tests.builders.archive import assert_verified
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
Seen = dict[str, tuple[int, int, int]]


def seen(data: DataDirectory) -> Seen:
    """Inode, length and modification time of every file and folder but the mark."""
    paths = [data.root, *data.root.rglob("*")]
    return {str(path): identity(path) for path in paths if path != data.last_pass}


def identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def written_bytes() -> int:
    """What this thread has given to write(), to whatever file."""
    text = Path("/proc/thread-self/io").read_text("ascii")
    return int(text.partition("wchar:")[2].split()[0])


def test_idle_passes_change_nothing_but_the_mark(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data)
    fold(data)
    before = seen(data)
    for minutes in range(1, 100):
        done = fold(data, NOON + minutes * 60_000)
        assert done.snapshot.generation == 1 and not done.more
    assert seen(data) == before
    assert read_mark(data.last_pass) == NOON + 99 * 60_000
    assert data.last_pass.stat().st_mode & 0o777 == 0o600


def test_idle_rounds_write_nothing_and_change_nothing_but_the_mark(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    settings = Settings(data_dir=data.root)
    compact_once(data, settings, SilentLog())
    before, written = seen(data), written_bytes()
    for _ in range(20):
        compact_once(data, settings, SilentLog())
    assert written_bytes() == written
    assert seen(data) == before


def test_new_directory_has_no_snapshot_before_its_first_event(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    fold(data)
    assert load_snapshot(data).generation == 0 and not data.snapshot.exists()
    assert last_pass_ms(data, load_snapshot(data)) == NOON
    sealed(data, [line("event-1")])
    fold(data)
    assert load_snapshot(data).generation == 1


def test_erasure_before_the_first_event_leaves_a_directory_that_verifies(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    create_request(data, "nobody", None)
    compact_once(data, Settings(data_dir=data.root), SilentLog())
    assert not pending_requests(data) and not kept_generations(data)
    assert_verified(data)
    sealed(data, [line("event-1")])
    fold(data)
    assert load_snapshot(data).generation == 1
    assert_verified(data)


def idle_until(data: DataDirectory, start: int, end: int, **settings: Any) -> None:
    for at in range(start, end, HOUR_MS):
        fold(data, at, **settings)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass has time for every step that waits, however busy the machine is."""
    monkeypatch.setattr(run_pass, "STEPS_S", 600.0)


@pytest.mark.usefixtures("unhurried")
def test_after_three_idle_days_retention_runs_and_no_jump_is_seen(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    first = sealed(data, [line("event-1")])
    now = int(first.sealed_at.timestamp() * 1000)
    fold(data, now)
    idle_until(data, now, now + 3 * DAY_MS)
    assert load_snapshot(data).generation == 2  # the day merge, with the visits
    sealed(data, [line("event-2", now + 3 * DAY_MS)])
    done = fold(data, now + 3 * DAY_MS)
    assert done.snapshot.totals.counted == 2
    assert done.snapshot.retention.skipped is None and done.snapshot.retention.clock_suspect_since is None


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("jump_ms", [-2 * DAY_MS, 400 * DAY_MS])
def test_a_jump_after_three_idle_days_is_still_seen(tmp_path: Path, jump_ms: int) -> None:
    data = data_directory(tmp_path)
    first = sealed(data, [line("event-1")])
    now = int(first.sealed_at.timestamp() * 1000)
    fold(data, now)
    idle_until(data, now, now + 3 * DAY_MS)
    jumped = now + 3 * DAY_MS + jump_ms
    done = fold(data, jumped, log_retention_days=1)
    assert done.snapshot.retention.skipped and done.snapshot.retention.clock_suspect_since
    assert done.snapshot.generation == 3
    for minutes in range(1, 20):  # the finding is the same, and is published once more at most
        done = fold(data, jumped + minutes * 60_000, log_retention_days=1)
    assert done.snapshot.generation <= 4 and done.snapshot.retention.skipped
    assert [each.name for each in sealed_segments(data)] == [first]


def test_without_the_mark_idle_days_look_like_a_jump_and_nothing_is_deleted(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    first = sealed(data, [line("event-1")])
    now = int(first.sealed_at.timestamp() * 1000)
    fold(data, now)
    idle_until(data, now, now + 4 * DAY_MS)
    data.last_pass.unlink()
    done = fold(data, now + 4 * DAY_MS, log_retention_days=1)
    assert done.snapshot.retention.skipped
    assert sealed_segments(data)


def test_segments_and_days_expire_while_nothing_comes(tmp_path: Path) -> None:
    """The kept snapshots, which need them, are replaced although nothing is folded."""
    data = data_directory(tmp_path)
    first = sealed(data, [line("event-1")])
    now = int(first.sealed_at.timestamp() * 1000)
    fold(data, now)
    idle_until(data, now, now + 11 * DAY_MS, log_retention_days=2, archive_retention_days=7)
    assert not list(data.log.iterdir())
    assert not list(data.archive.glob("*/*"))
    generation = load_snapshot(data).generation
    idle_until(data, now + 11 * DAY_MS, now + 12 * DAY_MS, log_retention_days=2, archive_retention_days=7)
    assert load_snapshot(data).generation == generation
    assert load_snapshot(data).retention.skipped is None


def test_retention_is_as_old_as_its_last_run(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    first = sealed(data, [line("event-1")])
    now = int(first.sealed_at.timestamp() * 1000)
    fold(data, now)
    idle_until(data, now, now + 5 * DAY_MS)
    found = last_retention(data, load_snapshot(data))
    assert found.at == found.succeeded_at
    assert found.at > load_snapshot(data).retention.at
    assert found.unsuccessful_s == 0
    jumped = now + 500 * DAY_MS
    for hours in range(40):
        fold(data, jumped + hours * HOUR_MS)
    found = last_retention(data, load_snapshot(data))
    assert found.skipped and found.unsuccessful_s == 39 * 3600
    assert found.last_success < found.at


def test_status_is_as_late_as_the_last_pass(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    settings = Settings(data_dir=data.root)
    compact_once(data, settings, SilentLog())
    os.utime(data.snapshot)
    two_hours_ago = (data.last_pass.stat().st_mtime - 7200,) * 2
    os.utime(data.last_pass, two_hours_ago)
    assert read_status(data, settings).lag_s == pytest.approx(0, abs=60)  # the snapshot is newer
    as_of_before = load_snapshot(data).as_of
    compact_once(data, settings, SilentLog())
    assert load_snapshot(data).as_of == as_of_before
    assert (read_mark(data.last_pass) or 0) > two_hours_ago[0] * 1000


def test_requested_fold_is_answered_by_a_round_that_found_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    settings = Settings(data_dir=data.root)
    answered: Callable[[], bool] = request_fold(data)
    assert not answered()
    compact_once(data, settings, SilentLog())
    assert answered()
    another = request_fold(data)
    assert not another()
    compact_once(data, settings, SilentLog())
    assert another() and answered()
