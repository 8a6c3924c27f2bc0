"""One salt of a day for all hosts of a PostgreSQL store, so that a visitor without an
id is one visitor over all of them.

A thread of each worker sees to it that private/salt.json has the salt of today and, an
hour before midnight, that of tomorrow. No request waits for the store: where it has not
said a salt in time, the first event of a day makes one of this host's own, and the
store is told when it answers again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from filelock import Timeout

from ingest.collect.daily_salt import (
    Salt,
    SaltDay,
    day_after,
    day_at,
    keep_salts_of_store,
    known_salt,
    new_salt,
    own_salt_days,
    remove_own_salt_days,
)
from ingest.sharing.salt_rows import agree, expire, note_own_days
from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock
from shared.log import Log
from shared.settings import Settings
from shared.stores.instance import known_instance
from shared.stores.ledger import StoreUnavailable
from shared.stores.postgres.connection import store_name
from shared.stores.postgres.migrate import migrated

AHEAD_MS = 3_600_000
# Between two looks at the file; the shorter one while it lacks the salt of today.
TURN_S = 10.0
URGENT_TURN_S = 1.0
# The store is asked at least as often: it may have lost its salts in a crash.
ASK_S = 600.0
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000


class SharedSalt:
    """Keeps the salts of this host those of its store. `first_turn` is set when the
    salt of today is there, or the store could not say it.
    """

    failing = "store_salt_failed"
    working = "store_salt_shared"

    def __init__(self, data: DataDirectory, settings: Settings, log: Log, now_ms: Callable[[], int]) -> None:
        self._data, self._settings, self._log, self._now_ms = data, settings, log, now_ms
        self._asked_at = float("-inf")
        self.first_turn = threading.Event()

    def turn(self) -> bool:
        """Ask the store, if something is due and no other worker does. Writes files."""
        today = day_at(self._settings.zone, self._now_ms())
        if known_salt(self._data, today.day) is not None:
            self.first_turn.set()  # no worker waits for the store
        if not self._is_due(today):
            return False
        has_answered = False
        try:
            with owner_lock(self._data.salt_store_lock, 0):
                if self._is_due(today):  # another worker may have asked meanwhile
                    self._ask(today)
                    has_answered = True
        except Timeout:
            return False  # this worker waits for what the other one gets
        self.first_turn.set()
        return has_answered

    def pause_s(self) -> float:
        """Longer once the salt of today is there."""
        has_salt = known_salt(self._data, day_at(self._settings.zone, self._now_ms()).day) is not None
        return TURN_S if has_salt else URGENT_TURN_S

    def failed(self) -> None:
        """No worker waits any longer for its first turn."""
        self.first_turn.set()

    def _is_due(self, today: SaltDay) -> bool:
        current = known_salt(self._data, today.day)
        if current is None or time.monotonic() - self._asked_at >= ASK_S:
            return True
        if current.day == today.day and current.next is None and self._is_late(today):
            return True
        return bool(own_salt_days(self._data)) and known_instance(self._data) is not None

    def _is_late(self, today: SaltDay) -> bool:
        return self._now_ms() >= today.end_ms - AHEAD_MS

    def _ask(self, today: SaltDay) -> None:
        address = self._settings.hosts_database
        with migrated(
            address, connect_timeout_s=CONNECT_TIMEOUT_S, statement_timeout_ms=STATEMENT_TIMEOUT_MS
        ) as connection:
            expire(connection)
            proposed = self._proposed(today)
            found = agree(connection, self._settings.timezone, proposed)
            if len(found) < len(proposed):
                raise StoreUnavailable(store_name(address), "its clock and that of this host are hours apart")
            following = [Salt(day.day, found[day.day]) for day in proposed if day != today]
            keep_salts_of_store(self._data, today, found[today.day], following[0] if following else None)
            own, instance = own_salt_days(self._data), known_instance(self._data)
            if own and instance:
                note_own_days(connection, instance, own)
                remove_own_salt_days(self._data, own)
                self._log.warning("store_salt_differs", days=[day.day for day in own])
        self._asked_at = time.monotonic()

    def _proposed(self, today: SaltDay) -> dict[SaltDay, str]:
        """What this host would use, where the store has nothing."""
        current = known_salt(self._data, today.day)
        of_today = current.salt if current and current.day == today.day else new_salt()
        if not self._is_late(today):
            return {today: of_today}
        following = current.next.salt if current and current.next else new_salt()
        return {today: of_today, day_after(self._settings.zone, today): following}
