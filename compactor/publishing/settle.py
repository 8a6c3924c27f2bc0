"""Publishing with the passes that it needs: what another host counts is yielded in a
generation of its own, and then that one is published.
"""

from __future__ import annotations

from collections.abc import Callable

from compactor.claims.claim import IdsClaimedElsewhere
from compactor.claims.yield_events import carry_out_claims
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.publishing.publish import Published, publish_newest
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.stores.store import Store
from shared.timestamps import now_ms

# Other hosts claim meanwhile, and each turn has fewer ids.
TURNS_MAX = 5

Publish = Callable[[DataDirectory, Settings, Store], Published]


def publish_settled(
    data: DataDirectory, settings: Settings, store: Store, log: Log, publish: Publish = publish_newest
) -> Published:
    """Publish the newest generation, and take out before it what other hosts count.
    Raises as `publish_newest`, and CompactorBusy.
    """
    for _ in range(TURNS_MAX):
        try:
            return publish(data, settings, store)
        except IdsClaimedElsewhere:
            with compactor_lock(data, LOCK_TIMEOUT_S) as lock:
                carry_out_claims(data, settings, log, lock, now_ms())
        publish = publish_newest
    return publish(data, settings, store)
