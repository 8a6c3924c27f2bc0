"""Holds that were confirmed over HTTP: the next pass carries out just that, whatever it
is killed at, and nothing else (P9).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import compactor.retention.apply
import compactor.run_pass
from compactor.backup import backup
from compactor.retention.command import preview_retention, retain_now
from shared.disk.layout import ConfirmedHold, DataDirectory, parse_confirmed_hold
from shared.generations.load import load_snapshot
from shared.holds import confirm_hold, confirmed_holds, confirmed_kinds
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import now_ms, utc_day
from tests.builders.archive import archived, assert_verified
from tests.builders.history import DAY_MS, history
from tests.builders.logs import NOON, fold
from tests.builders.server import environment
from tests.builders.silent_log import SilentLog
from tests.faults.strace import is_there

KEEP: dict[str, Any] = {"archive_retention_days": 7}


def day(age: int) -> date:
    return utc_day(NOON) - timedelta(days=age)


def hold_of(data: DataDirectory, kind: str = "archive") -> ConfirmedHold:
    """What stands on hold, as the status shows it."""
    hold = load_snapshot(data).retention.on_hold[kind]
    return ConfirmedHold(kind, hold.first, hold.last, hold.days)


def on_hold(tmp_path: Path, **settings: Any) -> DataDirectory:
    """Eight days of which all are past their retention, after the pass that held
    that.
    """
    data = history(tmp_path / "data", 8, NOON)
    fold(data, NOON, **settings or KEEP)
    return data


def test_file_name_says_what_was_confirmed(tmp_path: Path) -> None:
    hold = ConfirmedHold("archive", date(2026, 11, 6), date(2026, 11, 17), 12)
    assert parse_confirmed_hold(hold.file) == hold
    for name in (
        *("confirm-archive-2026-11-06-2026-11-31-12.json", "confirm-all-2026-11-06-2026-11-17-12.json"),
        *("confirm-archive-2026-11-06-2026-11-17-12.json.tmp", "confirm-archive-2026-11-06-2026-11-17-.json"),
    ):
        assert parse_confirmed_hold(name) is None
    data = DataDirectory(tmp_path)
    confirm_hold(data, hold)
    path = data.confirmed_hold(hold)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    said = path.read_bytes()
    assert json.loads(said).items() >= {"kind": "archive", "days": 12}.items()
    confirm_hold(data, hold)
    assert path.read_bytes() == said, "the first confirmation stands"


def test_idle_pass_carries_out_what_was_confirmed_and_forgets_it(tmp_path: Path) -> None:
    data, log = on_hold(tmp_path), SilentLog()
    before, generation = archived(data), load_snapshot(data).generation
    fold(data, NOON + 1, **KEEP)
    assert (archived(data), load_snapshot(data).generation) == (before, generation), "it waits, and publishes nothing"
    confirm_hold(data, hold_of(data))
    assert confirmed_kinds(data, load_snapshot(data).retention.on_hold) == ["archive"]
    done = fold(data, NOON + 2, log=log, **KEEP)
    assert archived(data) == []
    assert done.snapshot.retention.archive_days == 8
    assert (done.snapshot.retention.on_hold, confirmed_holds(data)) == ({}, [])
    assert log.events().count("retention_confirmed") == 1
    assert_verified(data)


def test_confirmation_of_one_kind_leaves_the_other_on_hold(tmp_path: Path) -> None:
    settings: dict[str, Any] = {**KEEP, "log_retention_days": 5}
    data = on_hold(tmp_path, **settings)
    for passes in range(1, 5):  # until no kept snapshot lacks a segment
        fold(data, NOON + passes, **settings)
    assert sorted(load_snapshot(data).retention.on_hold) == ["archive", "log"]
    days = archived(data)
    confirm_hold(data, hold_of(data, "log"))
    done = fold(data, NOON + 10, **settings)
    assert (sealed_segments(data), archived(data)) == ([], days)
    assert list(done.snapshot.retention.on_hold) == ["archive"]
    assert confirmed_holds(data) == []
    assert_verified(data)


def test_confirmation_of_less_than_what_is_on_hold_now_deletes_nothing_and_is_dropped(tmp_path: Path) -> None:
    data, log = on_hold(tmp_path), SilentLog()
    seen = hold_of(data)
    for less in (
        ConfirmedHold("archive", seen.first, seen.last - timedelta(days=1), 7),
        ConfirmedHold("counters", seen.first, seen.last, seen.days),
    ):
        confirm_hold(data, less)
    before = archived(data)
    fold(data, NOON + 1, log=log, **KEEP)
    assert archived(data) == before
    assert confirmed_holds(data) == []
    assert log.events().count("retention_confirmation_dropped") == 2
    assert hold_of(data) == seen, "it stands, and may be confirmed anew"


def test_confirmed_hold_survives_a_suspect_clock_and_overrules_it_no_more_than_a_command(tmp_path: Path) -> None:
    data = on_hold(tmp_path)
    confirm_hold(data, seen := hold_of(data))
    before = archived(data)
    for jump_ms in (10 * DAY_MS, 11 * DAY_MS):
        fold(data, NOON + jump_ms, **KEEP)
        assert load_snapshot(data).retention.skipped
        assert (archived(data), confirmed_holds(data)) == (before, [seen])
    fold(data, NOON + 12 * DAY_MS + 3_600_000, **KEEP)
    assert load_snapshot(data).retention.skipped is None
    assert archived(data) == [], "the same days, once the clock is steady"


def test_command_counts_a_hold_that_was_confirmed_over_http(tmp_path: Path) -> None:
    data = on_hold(tmp_path)
    settings = Settings(data_dir=data.root, **KEEP)
    confirm_hold(data, hold_of(data))
    assert len(preview_retention(data, settings, NOON + 1, confirmed=False).archive.to_delete) == 8
    assert len(confirmed_holds(data)) == 1, "a preview changes nothing"
    retain_now(data, settings, SilentLog(), lambda: NOON + 2, confirmed=False)
    assert (archived(data), confirmed_holds(data)) == ([], [])


def test_status_says_whether_a_hold_is_confirmed(tmp_path: Path) -> None:
    data = on_hold(tmp_path)
    settings = Settings(data_dir=data.root, **KEEP)
    assert read_status(data, settings).last_retention.confirmed == []
    confirm_hold(data, hold_of(data))
    found = read_status(data, settings)
    assert found.last_retention.confirmed == ["archive"]
    assert any("it is confirmed" in text for text in found.warnings)


class Killed(BaseException):
    """The pass ends here, as if its process were killed."""


# Before which call of a pass it is killed.
STEPS = {
    "apply_retention": compactor.run_pass,
    "commit": compactor.run_pass,
    "delete_expired": compactor.run_pass,
    "forget_confirmed": compactor.retention.apply,
    "prune_history": compactor.run_pass,
}


@pytest.mark.parametrize("kind", ["log", pytest.param("archive", marks=pytest.mark.long)])
@pytest.mark.parametrize("step", STEPS)
def test_pass_killed_at_any_step_leaves_the_deletion_done_or_confirmed(
    tmp_path: Path, kind: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = KEEP if kind == "archive" else {"log_retention_days": 5}
    data = on_hold(tmp_path, **settings)
    if kind == "log":
        for passes in range(1, 5):
            fold(data, NOON + passes, **settings)
    confirm_hold(data, hold_of(data, kind))

    def killed(*_args: Any, **_named: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(STEPS[step], step, killed)
        with pytest.raises(Killed):
            fold(data, NOON + 10, **settings)
    is_committed = step not in {"apply_retention", "commit"}
    assert bool(confirmed_holds(data)) is (step != "prune_history")
    assert (archived(data) == []) is (is_committed and kind == "archive")
    for passes in range(11, 16):
        fold(data, NOON + passes, **settings)
    left = archived(data) if kind == "archive" else sealed_segments(data)
    assert (left, confirmed_holds(data)) == ([], [])
    assert_verified(data)


CALLS = ("rename", "link", "unlink")


def traced(data: DataDirectory, environ: dict[str, str], report: Path, *options: str) -> int:
    """Run `foldlog compact --once` under strace. Returns its exit code, negative for a
    signal.
    """
    command = [sys.executable, "-m", "foldlog", "compact", "--once"]
    strace = ["strace", "-f", "-qq", "-o", str(report), "-e", f"trace={','.join(CALLS)}", *options]
    return subprocess.run([*strace, *command], env=os.environ | environ, capture_output=True, check=False).returncode


@pytest.mark.crash
@pytest.mark.component
@pytest.mark.long
def test_process_killed_before_a_call_leaves_the_deletion_done_or_confirmed(tmp_path: Path) -> None:
    if not is_there():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("strace is not installed")
    settings: dict[str, Any] = {**KEEP, "log_retention_days": 5}
    first = history(tmp_path / "first", 8, now_ms())
    for _ in range(5):
        fold(first, now_ms(), **settings)
    for kind in ("archive", "log"):
        confirm_hold(first, hold_of(first, kind))
    days = archived(first)

    def copied(name: str) -> tuple[DataDirectory, dict[str, str]]:
        data = DataDirectory(Path(shutil.copytree(first.root, tmp_path / name)))
        return data, environment(data.root, **settings)

    report = tmp_path / "calls"
    data, environ = copied("undisturbed")
    assert traced(data, environ, report) == 0
    assert (archived(data), sealed_segments(data), confirmed_holds(data)) == ([], [], [])
    found = Counter(line.split("(")[0].split()[-1] for line in report.read_text("utf-8").splitlines())
    # From the last parts to the end: the commit, the segments, the confirmations.
    points = [(call, number) for call in CALLS for number in range(max(1, found[call] - 20), found[call] + 1)]
    killed = 0
    for number, (call, when) in enumerate(points[:: max(1, len(points) // 10)]):
        data, environ = copied(f"killed-{number}")
        inject = f"inject={call}:signal=SIGKILL:when={when}"
        killed += traced(data, environ, report, "-e", inject) != 0
        is_committed = load_snapshot(data).retention.archive_days > 0
        assert archived(data) == ([] if is_committed else days), inject
        if not is_committed:
            assert len(confirmed_holds(data)) == 2, inject
        for _ in range(2):
            fold(data, now_ms(), **settings)
        assert (archived(data), sealed_segments(data), confirmed_holds(data)) == ([], [], []), inject
        assert_verified(data)
    assert killed >= 8


def test_confirmation_is_in_no_backup_and_half_a_one_is_swept(tmp_path: Path) -> None:
    data = on_hold(tmp_path)
    hold = hold_of(data)
    confirm_hold(data, hold)
    half = data.private / f".{hold.file}.1.1.tmp"
    half.write_bytes(b"{")
    os.utime(half, (0, 0))
    backup(data, tmp_path / "backup", SilentLog())
    assert confirmed_holds(DataDirectory(tmp_path / "backup")) == []
    assert len(confirmed_holds(data)) == 1
    fold(data, NOON + 1, **KEEP)
    assert not half.exists()


def test_hold_in_a_snapshot_is_what_a_client_sends_back(tmp_path: Path) -> None:
    """As JSON, so that a page can hand the very texts of the status back."""
    data = on_hold(tmp_path)
    shown = json.loads(msgspec.json.encode(read_status(data, Settings(data_dir=data.root, **KEEP)).last_retention))
    hold = shown["on_hold"]["archive"]
    assert (hold["first"], hold["last"], hold["days"]) == (str(day(17)), str(day(10)), 8)
