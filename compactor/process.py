"""The compactor as a process: APScheduler runs the pass, and a watch on the monotonic
clock sees that it does.

The scheduler waits on the wall clock, so a clock that steps back an hour would keep it
idle for an hour. A pass is therefore also due when it was asked for, or when none has
run for longer than it should. The pass itself does not depend on any of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from types import FrameType

import duckdb
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from compactor.erasure.rewrite import erase_pending
from compactor.fold.load import LinesDoNotParse
from compactor.fold.select_segments import PASS_MAX_BYTES, plan_segments
from compactor.generations.commit import CommitLost
from compactor.lock import LOCK_TIMEOUT_S, CompactorBusy, CompactorLock, compactor_lock
from compactor.repair.directory_check import InconsistentDirectory, check_directory
from compactor.repair.rotated_files import recover_rotated_files
from compactor.run_pass import Pass, recover_orphans, run_pass
from shared.disk.control_files import RequestTimedOut, Watch, seal_and_wait
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import SnapshotDamaged
from shared.log import Log
from shared.segments.line import DataFromNewerVersion
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.systemd_notify import Notifier
from shared.timestamps import epoch_ms, now_ms

EXIT_DONE = 0
EXIT_USAGE = 2
EXIT_TRY_AGAIN = 75

POLL_S = 0.1
SEAL_PATIENCE_S = 3.0
# `foldlog compress` has the lock for a segment at a time.
PASS_PATIENCE_S = 5.0
OVERDUE = 1.5
# What ends a pass and not the process: the next one finds out whether it still holds.
FAILURES = (
    OSError,
    duckdb.Error,
    LinesDoNotParse,
    SnapshotDamaged,
    PartDamaged,
    DataFromNewerVersion,
    InconsistentDirectory,
)


def compact_once(data: DataDirectory, settings: Settings, log: Log) -> Pass:
    """Fold everything that is sealed now, in as many bounded passes as it takes, and
    erase. Raises CompactorBusy.
    """
    make_data_directory(data)
    with compactor_lock(data) as lock:
        done = fold_all(data, settings, log, lock)
        erase_pending(data, settings, log, lock, now_ms())
        return done


def fold_all(data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock) -> Pass:
    """As many bounded passes as it takes, for who holds the lock."""
    recover_rotated_files(data, log, now_ms())
    max_bytes = PASS_MAX_BYTES
    while True:
        try:
            done = run_pass(data, settings, log, lock, now_ms(), max_bytes)
        except duckdb.OutOfMemoryException:
            # Not an error of the data: the same segments fit when fewer are taken at
            # once.
            if max_bytes == 1:
                raise
            taken = sum(
                segment.plain_bytes for segment in plan_segments(load_snapshot(data), sealed_segments(data), max_bytes)
            )
            max_bytes = taken // 4 if taken > (1 << 20) else 1
            log.warning("pass_reduced", max_bytes=max_bytes)
            continue
        if not done.more:
            return done


def erase_now(data: DataDirectory, settings: Settings, log: Log) -> None:
    """Carry out every request to erase that is pending; what was received before is
    folded first.

    Raises CompactorBusy and InconsistentDirectory.
    """
    with suppress(RequestTimedOut):  # nobody serves: what a dead writer left open is recovered by the pass
        seal_and_wait(data, SEAL_PATIENCE_S)
    with compactor_lock(data, LOCK_TIMEOUT_S) as lock:
        check_directory(data, log, lock)
        fold_all(data, settings, log, lock)
        erase_pending(data, settings, log, lock, now_ms())


class Compactor:
    """The scheduled pass of one data directory."""

    def __init__(self, data: DataDirectory, settings: Settings, log: Log) -> None:
        self._data = data
        self._settings = settings
        self._log = log
        self._last_pass = time.monotonic()
        self._has_begun = False
        self._idle = threading.Event()
        self._idle.set()

    def begin(self) -> None:
        """Remove what a killed pass left behind, once. Raises InconsistentDirectory,
        and is tried again before each pass then.
        """
        with compactor_lock(self._data, PASS_PATIENCE_S) as lock:
            self._begin(lock)

    def _begin(self, lock: CompactorLock) -> None:
        if not self._has_begun:
            check_directory(self._data, self._log, lock)
            self._has_begun = True

    def run(self) -> None:
        """The job: what is in the active segments is sealed first, so that a report is
        at most one interval behind.
        """
        self._idle.clear()
        self._last_pass = time.monotonic()
        try:
            self._seal()
            with compactor_lock(self._data, PASS_PATIENCE_S) as lock:
                self._begin(lock)
                fold_all(self._data, self._settings, self._log, lock)
                erase_pending(self._data, self._settings, self._log, lock, now_ms())
        except (CompactorBusy, CommitLost) as error:
            self._log.warning("commit_lost", reason=str(error))
        except FAILURES as error:
            self._log.warning("pass_failed", reason=str(error)[:1000])
        finally:
            self._idle.set()

    def _seal(self) -> None:
        try:
            recover_orphans(self._data, self._log)
            seal_and_wait(self._data, SEAL_PATIENCE_S)
        except (RequestTimedOut, OSError) as error:
            self._log.warning("seal_request_failed", reason=str(error))

    def is_idle(self) -> bool:
        return self._idle.is_set()

    def is_overdue(self) -> bool:
        return time.monotonic() - self._last_pass > OVERDUE * self._settings.fold_interval


class _FromNow(IntervalTrigger):  # type: ignore[misc]
    """An interval that leaves out the passes that a clock jumped over.

    The scheduler makes a list of all that are due before it runs one: from 1970, where
    a clock without a battery begins, to today that is more than memory holds, and
    meanwhile no pass is run and no signal is heard.
    """

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        following: datetime = super().get_next_fire_time(previous, now)
        return following if previous is None or following > now else now + self.interval


def run_compactor(settings: Settings, log: Log, notifier: Notifier, *, supervised: bool = False) -> int:
    """Fold on schedule until SIGTERM or SIGINT (or, `supervised`, the end of standard
    input). Returns the exit code.
    """
    data = DataDirectory(settings.data_dir)
    make_data_directory(data)
    compactor = Compactor(data, settings, log)
    try:
        compactor.begin()
    except InconsistentDirectory as error:
        log.warning(
            "directory_inconsistent", reason=str(error)
        )  # events are taken meanwhile, and each pass looks again
    except CompactorBusy as error:
        log.warning("compactor_busy", reason=str(error))
        return EXIT_TRY_AGAIN
    except (SnapshotDamaged, DataFromNewerVersion) as error:
        log.warning("compactor_start_refused", reason=str(error))
        return EXIT_USAGE
    stop = _stop_event(supervised=supervised)
    requests = Watch(data.fold_request)
    scheduler = BackgroundScheduler(timezone=UTC)
    job = scheduler.add_job(
        compactor.run,
        _FromNow(seconds=settings.fold_interval, timezone=UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    scheduler.start()
    notifier.ready(f"folds every {settings.fold_interval:g} s")
    asked = _asked_while_away(data)
    while not stop.wait(POLL_S):
        notifier.alive()
        asked = requests.requested() or asked or compactor.is_overdue()
        if asked and compactor.is_idle():  # a request during a pass is for the next one: this one has made its plan
            job.modify(next_run_time=datetime.now(UTC))
            asked = False
    notifier.stopping()
    scheduler.shutdown(
        wait=True
    )  # a pass under way is finished: it takes seconds, and repeating it would take them again
    return EXIT_DONE


def _asked_while_away(data: DataDirectory) -> bool:
    """Whether a fold was asked for after the last snapshot: while no compactor ran, or
    this one was starting.
    """
    try:
        return data.fold_request.stat().st_mtime * 1000 > epoch_ms(load_snapshot(data).as_of)
    except FileNotFoundError:
        return False


def _stop_event(*, supervised: bool) -> threading.Event:
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if supervised:

        def watch_supervisor() -> None:
            while os.read(
                sys.stdin.fileno(), 1
            ):  # not sys.stdin.read: its lock, held here, aborts the interpreter at exit
                pass
            stop.set()

        threading.Thread(target=watch_supervisor, daemon=True).start()
    return stop
