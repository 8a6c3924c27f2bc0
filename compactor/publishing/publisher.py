"""The publisher: a thread of the compactor that publishes each generation to the store,
in its own time. A store that is down or slow delays no pass.
"""

from __future__ import annotations

import threading

from compactor.backoff import backoff_s
from compactor.failures import failure_text
from compactor.publishing.instance import instance_id
from compactor.publishing.note_state import noting_failure
from compactor.publishing.settle import publish_settled
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure, UsageError
from shared.log import Log
from shared.settings import Settings
from shared.stores.address import FILE
from shared.stores.open_store import open_store

RETRY_S = 5.0
RETRY_MAX_S = 60.0
# At SIGTERM a publish has this long to end; one that is cut off is undone by the store.
STOP_S = 2.0


class Publisher:
    """Without a store it does nothing."""

    def __init__(self, data: DataDirectory, settings: Settings, log: Log) -> None:
        self._data, self._settings, self._log = data, settings, log
        self._wanted, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        if self._settings.store != FILE:
            self._thread.start()
            self.wake()

    def wake(self) -> None:
        """A pass has ended: there may be a new generation."""
        self._wanted.set()

    def stop(self) -> bool:
        """Let a publish end. Returns whether it ended."""
        self._stopped.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            self._wanted.wait()
            if self._stopped.is_set():
                return
            self._wanted.clear()
            failures = 0 if publish_logged(self._data, self._settings, self._log) else failures + 1
            if failures:
                self._stopped.wait(backoff_s(RETRY_S, failures - 1, RETRY_MAX_S))
                self._wanted.set()


def publish_logged(data: DataDirectory, settings: Settings, log: Log) -> bool:
    """Publish the newest generation, and log what came of it. Returns whether it did
    not fail.

    What other hosts count is yielded before, without folding what came meanwhile: else
    one such event in each round would keep a host from ever publishing.
    """
    if settings.store == FILE:
        return True
    try:
        with noting_failure(data, settings):
            store = open_store(settings, instance_id(data))
        done = publish_settled(data, settings, store, log)
    except (TemporaryFailure, UsageError) as error:
        log.warning("store_publish_failed", reason=str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the fold goes on
        log.warning("store_publish_failed", reason=failure_text(error))
    else:
        if done.generation != done.before:
            log.info("store_published", generation=done.generation, before=done.before)
        return True
    return False
