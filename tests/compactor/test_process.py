"""Rounds that fail: the next one waits longer, a requested one does not, and SIGTERM
ends the process whatever a pass is doing.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from compactor.backoff import BACKOFF_MAX_S, backoff_s
from compactor.process import Compactor
from compactor.stop import PassTooLong, interruptible, time_limit
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.builders.logs import data_directory, line, sealed
from tests.builders.server import environment
from tests.builders.silent_log import SilentLog
from tests.builders.supervised import mischief
from tests.builders.waiting import TIMEOUT_S, until

# A statement that does not end by itself, in the database of a pass.
ENDLESS = "SELECT count(*) FROM range(1000000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11"


def broken(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no 'text of a client'")

    monkeypatch.setattr("compactor.fold_round.run_pass", fail)


@pytest.mark.parametrize(
    ("interval", "waits"), [(60.0, [120, 240, 480, 900, 900]), (1.0, [2, 4, 8, 16, 32]), (3600.0, [3600, 3600])]
)
def test_wait_doubles_up_to_a_quarter_of_an_hour(interval: float, waits: list[float]) -> None:
    assert [backoff_s(interval, failures + 1) for failures in range(len(waits))] == waits
    assert backoff_s(interval, 10_000) == max(interval, BACKOFF_MAX_S)


def test_failed_round_says_why_once_and_the_next_one_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    sealed(data, [line("event-1")])
    compactor = Compactor(data, Settings(data_dir=data.root, fold_interval=600), log)
    broken(data, monkeypatch)
    for _ in range(5):
        compactor.run()
    ((_, said),) = [entry for entry in log.entries if entry[0] == "pass_failed"]
    assert said == {"reason": "ZeroDivisionError: no", "failures": 1, "next_in_s": 900.0}
    assert not compactor.is_overdue()
    compactor.request()
    compactor.run()
    assert log.events().count("pass_failed") == 2
    monkeypatch.undo()
    compactor.request()
    compactor.run()
    assert load_snapshot(data).totals.counted == 1
    sealed(data, [line("event-2")])
    compactor.run()  # after a success nothing waits
    assert load_snapshot(data).totals.counted == 2


def test_pass_that_would_not_end_is_interrupted(tmp_path: Path) -> None:
    database = connect(256 << 20, 1, tmp_path)
    with pytest.raises(PassTooLong, match="within 0 s"), time_limit(0.2), interruptible(database):
        database.execute(ENDLESS)
    assert database.execute("SELECT 1").fetchall() == [(1,)]


def test_running_pass_ends_by_itself_when_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    sealed(data, [line("event-1")])
    compactor = Compactor(data, Settings(data_dir=data.root), log)
    begun = threading.Event()

    def slow(*given: object) -> object:
        begun.set()
        time.sleep(0.5)
        return run_pass(*given)  # type: ignore[arg-type]

    from compactor.run_pass import run_pass

    monkeypatch.setattr("compactor.fold_round.run_pass", slow)
    running = threading.Thread(target=compactor.run)
    running.start()
    assert begun.wait(TIMEOUT_S)
    assert compactor.end()
    running.join()
    assert load_snapshot(data).totals.counted == 1
    assert "pass_failed" not in log.events()


@pytest.mark.parametrize("busy", ["database", pytest.param("python", marks=pytest.mark.long)])
def test_sigterm_ends_the_process_in_a_pass_that_does_not_end(tmp_path: Path, busy: str) -> None:
    """An interrupt ends what DuckDB does; what else runs ends with the process."""
    begun = tmp_path / "begun"
    code = f"""
import compactor.run_pass
def endless(context, *_):
    open({str(begun)!r}, "w").close()
    if {busy!r} == "database":
        context.database.execute({ENDLESS!r})
    while True: time.sleep(0.02)
compactor.run_pass.deduplicate = endless
"""
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-1")])
    environ = environment(data.root, fold_interval=1) | mischief(tmp_path / "mischief", "compact", code)
    with subprocess.Popen([sys.executable, "-m", "foldlog", "compact"], env=environ) as process:
        try:
            until(begun.exists)
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
    assert load_snapshot(data).generation == 0
