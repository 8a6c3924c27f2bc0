"""The thread that empties the spool: one batch at a time, the oldest first.

It never gives up on a server that is away; it waits 1, 2, 4 … 60 s, and never less than
a Retry-After says. What the server refuses is reported, and not sent again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from foldlog.client.answer import Refusal, Verdict
from foldlog.client.batch_file import BatchFile
from foldlog.client.delivery import Delivery
from foldlog.client.spool import Spool

_LOG = logging.getLogger("foldlog.client")
_RESCAN_S = 10.0  # for what other processes left
_MAX_WAIT_S = 60.0


class Sender:
    """`flush` and `close` may be called from any thread; `nudge` once a file began."""

    def __init__(
        self, spool: Spool, delivery: Delivery, interval_s: float, on_refused: Callable[[Refusal], None] | None
    ) -> None:
        self._spool = spool
        self._delivery = delivery
        self._interval_s = interval_s
        self._on_refused = on_refused
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._is_nudged = self._is_closing = self._has_ended = False
        self._failures = 0
        self._failed = ""  # the file that failed last, or is being sent
        self._thread = threading.Thread(target=self._run, name="foldlog-client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        with self._changed:
            self._is_nudged = True
            self._changed.notify_all()

    def flush(self, timeout_s: float | None) -> bool:
        """Whether nothing is left to send. A wait for the server goes on."""
        with self._changed:
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= asked or self._has_ended, timeout_s)
            return self._done >= asked

    def close(self, timeout_s: float) -> bool:
        """Send what can be sent now, and end."""
        with self._changed:
            self._is_closing = True
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return self._done >= asked

    def _run(self) -> None:
        try:
            self._empty()
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _empty(self) -> None:
        while True:
            with self._changed:
                asked = self._asked
            try:
                wait_s = self._step(is_asked=asked > self._done)
            except OSError as error:
                wait_s = self._backoff(Verdict("again", why=f"its spool fails: {error}"))
            if wait_s is None:
                if self._rest(asked):
                    return
            elif wait_s and self._pause(wait_s):
                return

    def _step(self, *, is_asked: bool) -> float | None:
        """Send one file. Returns how long to wait, None if there was none to send."""
        age_s = self._spool.age_s
        if age_s is not None and (is_asked or age_s >= self._interval_s):
            self._spool.seal()
        taken = self._spool.take(self._failed)
        if taken is None:
            return None
        self._failed, kept = taken.path.name, True
        try:
            verdict = self._delivery.send(taken.lines(), _consent_of(taken))
            kept = verdict.kind == "again"
        finally:
            if kept:
                self._spool.let_go(taken)
        return self._settle(taken, verdict)

    def _settle(self, taken: BatchFile, verdict: Verdict) -> float:
        if verdict.kind == "again":
            return self._backoff(verdict)
        if verdict.kind == "refused":
            self._spool.set_aside(taken)
        else:
            self._spool.let_go(taken, remove=True)
        self._failures, self._failed = 0, ""
        for refusal in verdict.refusals:
            self._report(refusal)
        return 0.0

    def _backoff(self, verdict: Verdict) -> float:
        self._failures += 1
        most = min(2.0 ** (self._failures - 1), _MAX_WAIT_S)
        wait_s = max(most * random.uniform(0.5, 1), verdict.retry_after_s or 0.0)  # noqa: S311
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        _LOG.log(level, "server_away: events wait in the spool, %s; next try in %.0f s", verdict.why, wait_s)
        return wait_s

    def _report(self, refusal: Refusal) -> None:
        if self._on_refused is None:
            what = "is kept as .refused in the spool" if refusal.is_kept else "does not count"
            _LOG.warning(
                "event_refused: %d %s %s (%d of them; what was refused %s)",
                refusal.status,
                refusal.code,
                refusal.field or "",
                len(refusal.events),
                what,
            )
            return
        try:
            self._on_refused(refusal)
        except Exception:  # noqa: BLE001  a fault of the caller's must not end the sending
            _LOG.exception("on_refused failed")

    def _rest(self, asked: int) -> bool:
        """Nothing is to be sent. Wait for something; returns whether to end."""
        self._delivery.close()
        with self._changed:
            self._done = max(self._done, asked)
            self._changed.notify_all()
            if self._is_closing and self._asked == asked:
                return True
            age_s = self._spool.age_s
            wait_s = _RESCAN_S if age_s is None else max(self._interval_s - age_s, 0.0)
            self._changed.wait_for(lambda: self._is_nudged or self._asked > asked, wait_s)
            self._is_nudged = False
            return False

    def _pause(self, wait_s: float) -> bool:
        """Until the server may be asked again; returns whether to end instead."""
        self._delivery.close()
        until = time.monotonic() + wait_s
        with self._changed:
            while not self._is_closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._is_closing


def _consent_of(taken: BatchFile) -> str | None:
    said = taken.path.suffixes[-2].removeprefix(".")
    return None if said == "implied" else said
