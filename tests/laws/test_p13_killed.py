"""P13: what kills the process that folds or merges it is given up after some tries, and
stops nothing else. An end that was asked for is no try.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from compactor.begun import Begun, take_begun
from compactor.process import compact_once
from compactor.tries import write_note
from shared.disk.boot import boot_id
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import utc_day
from tests.builders.archive import assert_verified
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

# A round in a process of its own. It ends by a signal where it loads a line with the
# name `poison`, or where it merges a day.
CHILD = dedent("""
    import os, sys, time
    from pathlib import Path

    from compactor import process, run_pass
    from compactor.fold_round import Round
    from shared.disk.compression import decompressed_blocks
    from shared.disk.layout import DataDirectory
    from shared.settings import Settings
    from tests.builders.silent_log import SilentLog

    root, number, where, clock_ms, retry = sys.argv[1:]
    load = run_pass.load_lines

    def die(*_):
        os.kill(os.getpid(), int(number))
        time.sleep(60)

    def dying(database, verified, *rest):
        if any(b'"name":"poison"' in b"".join(decompressed_blocks(each.path, 1 << 20)) for each in verified):
            die()
        return load(database, verified, *rest)

    class At(Round):
        def __init__(self, *given, **named):
            super().__init__(*given, **named, clock=lambda: int(clock_ms))

    process.Round = At
    if where == "merge":
        run_pass.merge_step = die
    elif where == "retention":
        run_pass.apply_retention = die
    elif where == "fold":
        run_pass.load_lines = dying
    data = DataDirectory(Path(root))
    process.compact_once(data, Settings(data_dir=data.root), SilentLog(), retry=bool(retry))
""")


def run(
    data: DataDirectory, where: str = "fold", number: int = signal.SIGKILL, now_ms: int = NOON, retry: str = ""
) -> int:
    command = [sys.executable, "-c", CHILD, str(data.root), str(int(number)), where, str(now_ms), retry]
    return subprocess.run(command, timeout=TIMEOUT_S, check=False).returncode


def poison_among_others(data: DataDirectory) -> str:
    sealed(data, [line(f"before-{n}") for n in range(5)])
    middle = sealed(data, [line("middle-0"), line("middle-1", name="poison")])
    sealed(data, [line(f"after-{n}") for n in range(5)])
    return middle.stem


def assert_balanced(data: DataDirectory) -> None:
    totals = load_snapshot(data).totals
    assert totals.lines == totals.accounted
    assert read_status(data, Settings(data_dir=data.root)).balance.difference == 0


def test_segment_that_kills_the_process_is_set_aside(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    stem = poison_among_others(data)
    codes = [run(data) for _ in range(5)]
    # Once among others, then three times alone; the others are folded before.
    assert codes == [-signal.SIGKILL] * 4 + [0]
    snapshot = load_snapshot(data)
    (entry,) = snapshot.set_aside
    assert (entry.segment, entry.lines, entry.tries) == (stem, 2, 3)
    assert entry.reason == "the process ended while folding it"
    assert (snapshot.totals.counted, snapshot.totals.set_aside) == (10, 2)
    assert run(data) == 0
    assert_balanced(data)
    assert_verified(data)
    assert run(data, retry="retry") == -signal.SIGKILL
    assert run(data) == 0  # it is not tried again by itself
    assert [each.tries for each in load_snapshot(data).set_aside] == [4]
    assert run(data, "nowhere", retry="retry") == 0
    assert (load_snapshot(data).totals.counted, load_snapshot(data).set_aside) == (12, ())
    assert_balanced(data)
    assert_verified(data)


def test_end_that_was_asked_for_is_no_try(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("good"), line("poison", name="poison")])
    for _ in range(4):
        assert run(data, number=signal.SIGTERM) == 128 + signal.SIGTERM
        assert not data.begun.exists() and not data.tries.exists()
    assert run(data, "nowhere") == 0
    assert load_snapshot(data).totals.counted == 2


def test_kill_before_the_host_was_started_is_no_try(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("good"), line("poison", name="poison")])
    assert run(data) == -signal.SIGKILL
    content = data.begun.read_bytes()
    write_note(data, data.begun, content.replace(boot_id().encode(), b"another"))
    assert take_begun(data) is None
    write_note(data, data.begun, content)
    assert isinstance(take_begun(data), Begun) and take_begun(data) is None


@pytest.mark.long
def test_merge_that_kills_the_process_is_given_up(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(2):
        sealed(data, [line(f"old-{number}")])
        fold(data)
    sealed(data, [line("new", NOON + 3 * DAY_MS)])
    later = NOON + 2 * DAY_MS
    for tries in range(1, 4):
        assert run(data, "merge", now_ms=later) == -signal.SIGKILL
        assert run(data, "merge", now_ms=later) == 0
        failure = load_snapshot(data).days[utc_day(NOON)].merge_failure
        assert failure is not None and failure.tries == tries
        assert failure.reason == "the process ended while merging it"
        later += 2 * HOUR_MS
    snapshot = load_snapshot(data)
    assert snapshot.unmerged_days() == [utc_day(NOON)]
    assert (snapshot.totals.counted, snapshot.set_aside) == (3, ())
    assert run(data, "merge", now_ms=later) == 0
    assert run(data, "nowhere", now_ms=later, retry="retry") == 0
    assert load_snapshot(data).days[utc_day(NOON)].merged
    assert_balanced(data)
    assert_verified(data)


@pytest.mark.long
def test_retention_that_kills_the_process_stops_no_fold(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(2):
        sealed(data, [line(f"event-{number}")])
        assert run(data, "retention") == -signal.SIGKILL
        assert load_snapshot(data).totals.counted == number
        assert run(data, "nowhere") == 0
        snapshot = load_snapshot(data)
        assert snapshot.totals.counted == number + 1
        assert snapshot.retention.skipped == "the process ended during it"
    sealed(data, [line("later")])
    assert run(data, "nowhere") == 0
    assert load_snapshot(data).retention.skipped is None and load_snapshot(data).set_aside == ()


def test_kill_of_a_pass_of_many_bytes_is_followed_by_passes_of_a_quarter(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(8):
        sealed(data, [line(f"event-{number}-{n}", props={"k": "x" * 1900}) for n in range(200)])
    write_note(data, data.begun, b'{"boot":"%b","segments":["a","b"],"bytes":3000000}' % boot_id().encode())
    compact_once(data, Settings(data_dir=data.root), log := SilentLog())
    assert load_snapshot(data).generation > 2 and load_snapshot(data).totals.counted == 1600
    assert log.events()[0] == "pass_killed"
