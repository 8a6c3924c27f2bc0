"""`foldlog retain`, and how a deletion on hold shows until it is confirmed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from compactor.retention.command import retain_now
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.timestamps import now_ms
from tests.builders.archive import archived, assert_verified
from tests.builders.command import run_here
from tests.builders.history import DAY_MS, files, history, seal_at
from tests.builders.logs import fold, line
from tests.builders.server import environment
from tests.builders.silent_log import SilentLog
from tests.faults.kill_points import MEMORY, Options, enumerate_points, run_points, spread, workers
from tests.faults.kill_run import CHANGES
from tests.faults.strace import KILLED, is_there


@pytest.mark.long
def test_dry_run_changes_nothing_and_prints_what_a_run_deletes(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 12, now_ms())
    keep = {"archive_retention_days": 7, "log_retention_days": 16}
    environ = environment(data.root, **keep)
    before = files(data.root)
    previews = [run_here(["retain", "--dry-run", *more], environ) for more in ([], ["--confirm"])]
    assert [each.returncode for each in previews] == [0, 0]
    assert files(data.root) == before
    without, confirmed = (each.stdout for each in previews)
    assert row_of(without, "log") == ("would delete", "6 segments", "older than 16 days")
    assert row_of(without, "archive") == ("on hold", "12 days", "older than 7 days")
    assert "foldlog retain --confirm" in without
    assert row_of(confirmed, "archive") == ("would delete", "12 days", "older than 7 days")

    done = run_here(["retain"], environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout == without.replace("would delete", "deleted")
    assert '"retention_on_hold"' in done.stderr
    assert (len(sealed_segments(data)), len(archived(data))) == (6, 36)
    done = run_here(["retain", "--confirm"], environ)
    assert row_of(done.stdout, "archive") == ("deleted", "12 days", "older than 7 days")
    assert archived(data) == []
    assert run_here(["retain"], environ).stdout == "nothing was deleted\n"
    assert_verified(data)


def row_of(output: str, kind: str) -> tuple[str, ...]:
    """The line of a kind: the verb, the amount, and the reason."""
    (found,) = re.findall(rf"^(.*): {kind}, (\d+ \w+) of \S+ to \S+, \S+ \w+, (.*)$", output, re.MULTILINE)
    return tuple(found)


def test_limit_is_printed_with_its_setting_and_the_excess(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 2, now_ms())
    big = [line(f"big-{n:04d}", now_ms(), props={"note": "n" * 1900}) for n in range(700)]
    for _ in range(5):
        fold(data, now_ms())
    seal_at(data, big, now_ms() - DAY_MS)
    fold(data, now_ms())
    for _ in range(3):  # so that no kept snapshot lacks the segment
        retain_now(data, Settings(data_dir=data.root), SilentLog(), now_ms, confirmed=False)
    done = run_here(["retain", "--dry-run"], environment(data.root, log_max_bytes="1 MiB"))
    assert row_of(done.stdout, "log")[:2] == ("would delete", "3 segments")
    assert re.search(r"over FOLDLOG_LOG_MAX_BYTES by \d+\.\d KiB", done.stdout)


@pytest.mark.long
def test_suspect_clock_is_reported_and_no_option_overrules_it(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 3, now_ms())
    fold(data, now_ms() - 100 * DAY_MS)
    environ = environment(data.root, archive_retention_days=7)
    before = files(data.root)
    for more, code in (["--dry-run"], 0), (["--dry-run", "--confirm"], 0), ([], 75), (["--confirm"], 75):
        done = run_here(["retain", *more], environ)
        assert (done.returncode, "clock" in done.stdout) == (code, True), done.stdout
    assert without_lock(files(data.root)) == without_lock(before)


def without_lock(found: dict[str, tuple[bytes, int]]) -> dict[str, tuple[bytes, int]]:
    return {name: content for name, content in found.items() if name != "compact.lock"}


@pytest.mark.crash
@pytest.mark.component
@pytest.mark.long
def test_retain_killed_before_any_call_leaves_a_directory_that_verifies() -> None:
    if not is_there():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("strace is not installed")
    with workers(Options(), MEMORY) as pool:
        points = [point for point in enumerate_points(pool, Options(("retain",))) if point.call in CHANGES]
        assert {"link", "rename", "unlink", "fsync"} <= {point.call for point in points}
        ends = [point for point in points if point.call in {"link", "unlink"}]
        runs = run_points(pool, [*spread(ends, 4), *spread([point for point in points if point not in ends], 4)])
    assert [str(run) for run in runs if run.found] == []
    assert sum(run.ending == KILLED for run in runs) >= 6
