"""Asks a store again and again for what its hosts share, in a thread of its own: no
request waits for the store, and one that is down leaves what this host has.
"""

from __future__ import annotations

import threading
from typing import Protocol

from shared.exit_codes import TemporaryFailure, UsageError
from shared.log import Log


class Shared(Protocol):
    """What hosts share, as the thread knows it. What is logged when asking begins to
    fail, and when it works again.
    """

    failing: str
    working: str

    def turn(self) -> bool:
        """Ask the store, if something is due. Whether it has answered. Raises
        TemporaryFailure, UsageError, and what a full disk raises.
        """

    def pause_s(self) -> float:
        """Seconds until the next turn."""

    def failed(self) -> None:
        """A turn has raised something."""


class Turns:
    """One thread. Logs when asking begins to fail, and when it works again."""

    def __init__(self, shared: Shared, log: Log) -> None:
        self._shared, self._log = shared, log
        self._has_failed = self._is_stopped = False
        self._is_due = threading.Event()
        # A daemon: the end of the worker does not wait for a store that is silent.
        self._thread = threading.Thread(target=self._run, name=type(shared).__name__, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped = True
        self._is_due.set()

    def soon(self) -> None:
        """The next turn is now, or follows the one that runs."""
        self._is_due.set()

    def _run(self) -> None:
        while not self._is_stopped:
            self.turn()
            self._is_due.wait(self._shared.pause_s())
            self._is_due.clear()

    def turn(self) -> None:
        """Ask now. Raises nothing."""
        try:
            has_answered = self._shared.turn()
        except (TemporaryFailure, UsageError) as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  such as a full disk: the next turn tries again
            self._failed(type(error).__name__)
        else:
            if has_answered and self._has_failed:
                self._log.info(self._shared.working)
            self._has_failed = self._has_failed and not has_answered

    def _failed(self, reason: str) -> None:
        if not self._has_failed:
            self._log.warning(self._shared.failing, reason=reason)
        self._has_failed = True
        self._shared.failed()
