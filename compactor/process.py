"""The compactor as a process: APScheduler runs a pass per interval, and a check on the
monotonic clock notices when it does not.

The scheduler waits on the wall clock, so a clock that is set back an hour would keep it
idle for an hour. A pass is therefore also run when it was requested, or when the last
one is overdue. The pass itself depends on none of this.
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

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from compactor.erasure.rewrite import erase_pending
from compactor.fold.load import LinesDoNotParse
from compactor.fold.select_segments import PASS_MAX_BYTES, select_segments
from compactor.generations.commit import CommitLost
from compactor.lock import LOCK_TIMEOUT_S, CompactorBusy, CompactorLock, compactor_lock
from compactor.repair.directory_check import InconsistentDirectory, check_directory
from compactor.repair.rotated_files import recover_rotated_files
from compactor.run_pass import Pass, recover_abandoned_segments, run_pass
from shared.disk.control_files import SEAL_BEFORE_PASS_TIMEOUT_S, RequestTimedOut, Watch, seal_and_wait
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import database_error
from shared.exit_codes import SUCCESS, TRY_AGAIN, USAGE
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import SnapshotDamaged
from shared.log import Log
from shared.segments.line import DataFromNewerVersion
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.systemd_notify import Notifier
from shared.timestamps import epoch_ms, now_ms

POLL_S = 0.1
# `foldlog compress` takes the lock for one segment at a time.
PASS_TIMEOUT_S = 5.0
OVERDUE = 1.5
# With DuckDB's errors: they end a pass but not the process. The next pass finds out
# whether the cause remains.
PASS_FAILURES = (OSError, LinesDoNotParse, SnapshotDamaged, PartDamaged, DataFromNewerVersion, InconsistentDirectory)


def compact_once(data: DataDirectory, settings: Settings, log: Log) -> Pass:
    """Fold everything that is sealed now, in as many passes as it takes, and carry out
    pending erasures. Raises CompactorBusy.
    """
    make_data_directory(data)
    with compactor_lock(data) as lock:
        done = fold_all(data, settings, log, lock)
        erase_pending(data, settings, log, lock, now_ms())
        return done


def fold_all(data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock) -> Pass:
    """Run passes until no sealed segment is left. Raises what a pass raises."""
    recover_rotated_files(data, log, now_ms())
    max_bytes = PASS_MAX_BYTES
    while True:
        try:
            done = run_pass(data, settings, log, lock, now_ms(), max_bytes)
        except database_error("OutOfMemoryException"):
            # The same segments fit into memory when fewer are folded at once.
            if max_bytes == 1:
                raise
            chosen = select_segments(load_snapshot(data), sealed_segments(data), max_bytes)
            total = sum(segment.plain_bytes for segment in chosen)
            max_bytes = total // 4 if total > (1 << 20) else 1
            log.warning("pass_reduced", max_bytes=max_bytes)
            continue
        if not done.more:
            return done


def erase_now(data: DataDirectory, settings: Settings, log: Log) -> None:
    """Fold what was received before now, then carry out every pending erasure. Raises
    CompactorBusy and InconsistentDirectory.
    """
    # Without a running writer none answers; the pass recovers what a dead one left.
    with suppress(RequestTimedOut):
        seal_and_wait(data, SEAL_BEFORE_PASS_TIMEOUT_S)
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
        """Check the directory and remove what a killed pass left, once. Raises
        InconsistentDirectory; the next pass then tries again.
        """
        with compactor_lock(self._data, PASS_TIMEOUT_S) as lock:
            self._begin(lock)

    def _begin(self, lock: CompactorLock) -> None:
        if not self._has_begun:
            check_directory(self._data, self._log, lock)
            self._has_begun = True

    def run(self) -> None:
        """One scheduled pass. Active segments are sealed first, so that reports are at
        most one interval behind.
        """
        self._idle.clear()
        self._last_pass = time.monotonic()
        try:
            self._seal()
            with compactor_lock(self._data, PASS_TIMEOUT_S) as lock:
                self._begin(lock)
                fold_all(self._data, self._settings, self._log, lock)
                erase_pending(self._data, self._settings, self._log, lock, now_ms())
        except (CompactorBusy, CommitLost) as error:
            self._log.warning("commit_lost", reason=str(error))
        except (*PASS_FAILURES, database_error()) as error:
            self._log.warning("pass_failed", reason=str(error)[:1000])
        finally:
            self._idle.set()

    def _seal(self) -> None:
        try:
            recover_abandoned_segments(self._data, self._log)
            seal_and_wait(self._data, SEAL_BEFORE_PASS_TIMEOUT_S)
        except (RequestTimedOut, OSError) as error:
            self._log.warning("seal_request_failed", reason=str(error))

    def is_idle(self) -> bool:
        return self._idle.is_set()

    def is_overdue(self) -> bool:
        return time.monotonic() - self._last_pass > OVERDUE * self._settings.fold_interval


class _SkipMissedRuns(IntervalTrigger):  # type: ignore[misc]
    """An interval without the runs that a jump of the clock skipped.

    The scheduler lists all missed runs before it starts one. From 1970, where a clock
    without a battery starts, to today that list exceeds memory, and no pass runs and no
    signal is handled meanwhile.
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
        # Events are still accepted, and each pass checks again.
        log.warning("directory_inconsistent", reason=str(error))
    except CompactorBusy as error:
        log.warning("compactor_busy", reason=str(error))
        return TRY_AGAIN
    except (SnapshotDamaged, DataFromNewerVersion) as error:
        log.warning("compactor_start_refused", reason=str(error))
        return USAGE
    stop = _stop_event(supervised=supervised)
    requests = Watch(data.fold_request)
    scheduler = BackgroundScheduler(timezone=UTC)
    job = scheduler.add_job(
        compactor.run,
        _SkipMissedRuns(seconds=settings.fold_interval, timezone=UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    scheduler.start()
    notifier.ready(f"folds every {settings.fold_interval:g} s")
    is_due = _has_unanswered_request(data)
    while not stop.wait(POLL_S):
        notifier.alive()
        is_due = requests.requested() or is_due or compactor.is_overdue()
        # A request during a pass waits for the next one: this one has made its plan.
        if is_due and compactor.is_idle():
            job.modify(next_run_time=datetime.now(UTC))
            is_due = False
    notifier.stopping()
    # A running pass is finished: it takes seconds, and the next start would repeat it.
    scheduler.shutdown(wait=True)
    return SUCCESS


def _has_unanswered_request(data: DataDirectory) -> bool:
    """Whether a fold was requested after the last snapshot, when no compactor was
    running.
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
            # Not sys.stdin.read: its lock, if held at exit, aborts the interpreter.
            while os.read(sys.stdin.fileno(), 1):
                pass
            stop.set()

        threading.Thread(target=watch_supervisor, daemon=True).start()
    return stop
