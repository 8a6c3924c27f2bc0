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

from compactor.backoff import backoff_s
from compactor.begun import forget_begun, forgetting_at_sigterm
from compactor.claims.yield_events import carry_out_claims
from compactor.erasure.rewrite import erase_pending
from compactor.failures import failure_text
from compactor.fold_round import Round
from compactor.generations.commit import CommitLost
from compactor.lock import LOCK_TIMEOUT_S, CompactorBusy, CompactorLock, compactor_lock
from compactor.publishing.publisher import Publisher, publish_logged
from compactor.repair.directory_check import InconsistentDirectory, check_directory
from compactor.repair.rotated_files import recover_rotated_files
from compactor.run_pass import Pass, recover_abandoned_segments
from compactor.stop import PassStopped, Stop
from shared.disk.control_files import SEAL_BEFORE_PASS_TIMEOUT_S, RequestTimedOut, Watch, seal_and_wait
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.disk.marks import answer_fold_request, answered_fold_request, fold_request_stamp
from shared.exit_codes import SUCCESS, TRY_AGAIN, USAGE
from shared.generations.last_look import last_pass_ms
from shared.generations.load import load_snapshot
from shared.generations.snapshot import SnapshotDamaged
from shared.log import Log
from shared.segments.line import DataFromNewerVersion
from shared.settings import Settings
from shared.systemd_notify import Notifier
from shared.timestamps import now_ms

POLL_S = 0.1
# `foldlog compress` takes the lock for one segment at a time.
PASS_TIMEOUT_S = 5.0
OVERDUE = 1.5
# At SIGTERM a pass has this long to end by itself, then this long to be interrupted:
# together less than the supervisor waits (STOP_TIMEOUT_S in foldlog/supervisor/), which
# the workers take some of. The next start repeats what was not committed.
FINISH_S = 5.0
END_S = 5.0


def compact_once(data: DataDirectory, settings: Settings, log: Log, *, retry: bool = False) -> Pass:
    """Fold everything that is sealed now, in as many passes as it takes, and carry out
    pending erasures. With `retry`, what is set aside is tried again.

    Raises CompactorBusy, and at the end what kept a segment from being folded.
    """
    make_data_directory(data)
    with compactor_lock(data, LOCK_TIMEOUT_S if retry else 0) as lock, forgetting_at_sigterm(data):
        done = fold_and_erase(data, settings, log, lock, retry=retry)
    publish_logged(data, settings, log)
    return done


def fold_and_erase(
    data: DataDirectory,
    settings: Settings,
    log: Log,
    lock: CompactorLock,
    stop: Stop | None = None,
    *,
    retry: bool = False,
) -> Pass:
    """One round, then the pending erasures, then what hosts of a store agreed on.
    Raises what a pass raises, and at the end what kept a segment from being folded.
    """
    request = fold_request_stamp(data)
    recover_rotated_files(data, log, now_ms())
    work = Round(data, settings, log, lock, stop=stop)
    done = work.run(retry=retry)
    answer_fold_request(data, request)
    erase_pending(data, settings, log, lock, now_ms())
    carry_out_claims(data, settings, log, lock, now_ms())
    if work.failure is not None:
        raise work.failure
    return done


def erase_now(data: DataDirectory, settings: Settings, log: Log) -> None:
    """Fold what was received before now, then carry out every pending erasure. Raises
    CompactorBusy and InconsistentDirectory.
    """
    # Without a running writer none answers; the pass recovers what a dead one left.
    with suppress(RequestTimedOut):
        seal_and_wait(data, SEAL_BEFORE_PASS_TIMEOUT_S)
    with compactor_lock(data, LOCK_TIMEOUT_S) as lock, forgetting_at_sigterm(data):
        check_directory(data, log, lock)
        fold_and_erase(data, settings, log, lock)
    publish_logged(data, settings, log)


class Compactor:
    """The scheduled pass of one data directory."""

    def __init__(self, data: DataDirectory, settings: Settings, log: Log) -> None:
        self.publisher = Publisher(data, settings, log)
        self._data = data
        self._settings = settings
        self._log = log
        self._last_pass = time.monotonic()
        self._has_begun = False
        self._failures = 0
        self._not_before = 0.0
        self._stop = Stop()
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
        """One scheduled round. Active segments are sealed first, so that reports are at
        most one interval behind. After a failure it does nothing for a while.
        """
        if time.monotonic() < self._not_before:
            return
        self._idle.clear()
        self._last_pass = time.monotonic()
        try:
            self._run_round()
            self._failures, self._not_before = 0, 0.0
        except (CompactorBusy, CommitLost) as error:
            self._log.warning("commit_lost", reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next round comes
            self._failed(error)
        finally:
            self._idle.set()
            self.publisher.wake()

    def _run_round(self) -> None:
        self._seal()
        with compactor_lock(self._data, PASS_TIMEOUT_S) as lock:
            self._begin(lock)
            fold_and_erase(self._data, self._settings, self._log, lock, self._stop)

    def _failed(self, error: Exception) -> None:
        """Say why, and wait longer than the last time."""
        if self._stop.is_asked:
            self._log.info("pass_stopped", reason=str(PassStopped()))
            return
        self._failures += 1
        wait_s = backoff_s(self._settings.fold_interval, self._failures)
        self._not_before = self._last_pass + wait_s - self._settings.fold_interval / 2
        self._log.warning("pass_failed", reason=failure_text(error), failures=self._failures, next_in_s=wait_s)

    def request(self) -> None:
        """A fold is requested, so the next round waits for nothing."""
        self._not_before = 0.0

    def end(self) -> bool:
        """Let a running pass end, or end it where it is. Returns whether it ended."""
        self._stop.ask()
        forget_begun(self._data)
        if self._idle.wait(FINISH_S):
            return True
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            self._stop.hurry()
            if self._idle.wait(POLL_S):
                return True
        return False

    def _seal(self) -> None:
        try:
            recover_abandoned_segments(self._data, self._log)
            seal_and_wait(self._data, SEAL_BEFORE_PASS_TIMEOUT_S)
        except (RequestTimedOut, OSError) as error:
            self._log.warning("seal_request_failed", reason=str(error))

    def is_idle(self) -> bool:
        return self._idle.is_set()

    def is_overdue(self) -> bool:
        due = max(self._last_pass, self._not_before) + OVERDUE * self._settings.fold_interval
        return time.monotonic() > due


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
    compactor.publisher.start()
    notifier.ready(f"folds every {settings.fold_interval:g} s")
    is_due = _has_unanswered_request(data)
    while not stop.wait(POLL_S):
        notifier.alive()
        if requests.requested() or is_due:
            compactor.request()
            is_due = True
        is_due = is_due or compactor.is_overdue()
        # A request during a pass waits for the next one: this one has made its plan.
        if is_due and compactor.is_idle():
            job.modify(next_run_time=datetime.now(UTC))
            is_due = False
    notifier.stopping()
    scheduler.shutdown(wait=False)
    if not compactor.end():
        # What is not committed is not there (P5), and the next pass starts over.
        log.warning("pass_abandoned", reason=f"it did not end within {FINISH_S + END_S:.0f} s")
        forget_begun(data)
        os._exit(SUCCESS)
    if not compactor.publisher.stop():
        os._exit(SUCCESS)  # its transaction is undone, and the next publish starts over
    return SUCCESS


def _has_unanswered_request(data: DataDirectory) -> bool:
    """Whether a fold was requested after the last pass, when no compactor was
    running.
    """
    try:
        requested_ms = data.fold_request.stat().st_mtime * 1000
    except FileNotFoundError:
        return False
    if answered := answered_fold_request(data):
        return answered != fold_request_stamp(data)
    return requested_ms > last_pass_ms(data, load_snapshot(data))


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
