"""Keeps this host's copy of the tokens of a PostgreSQL store fresh, in a thread: no
request waits for the store, and a store that is down leaves the last copy valid.
"""

from __future__ import annotations

import threading

from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure, UsageError
from shared.log import Log
from shared.shared_tokens import fetch_shared_tokens

# A revoked token is valid on another host for about that long at most, while the store
# answers.
FETCH_S = 15.0


class TokenCopy:
    """`store`: the address of a PostgreSQL store."""

    def __init__(self, data: DataDirectory, store: str, log: Log) -> None:
        self._data, self._store, self._log = data, store, log
        self._has_failed = False
        self._stopped = threading.Event()
        # A daemon: the end of the worker does not wait for a store that is silent.
        self._thread = threading.Thread(target=self._run, name="token-copy", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.fetch()
            self._stopped.wait(FETCH_S)

    def fetch(self) -> None:
        """Copy the tokens now. Logs when that begins to fail, and when it works
        again.
        """
        try:
            fetch_shared_tokens(self._data, self._store)
        except (TemporaryFailure, UsageError) as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  such as a full disk: the next turn tries again
            self._failed(type(error).__name__)
        else:
            if self._has_failed:
                self._log.info("store_tokens_shared")
            self._has_failed = False

    def _failed(self, reason: str) -> None:
        if not self._has_failed:
            self._log.warning("store_tokens_failed", reason=reason)
        self._has_failed = True
