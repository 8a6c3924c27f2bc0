"""How the store of FOLDLOG_RATE_STORE answers from this host."""

from __future__ import annotations

import asyncio
import time

from shared.rate_store import require_package
from shared.settings import Settings

PATIENCE_S = 5.0


def answer_of(settings: Settings) -> float | str | None:
    """Seconds that it took for an answer, or why there was none; None where no store is
    set. Raises RateStorePackageMissing.
    """
    from ingest.rate_store.open_store import rate_store_of
    from ingest.rate_store.store import RateStore, RateStoreFailed

    async def ask(store: RateStore) -> float | str:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await store.open()
                since = time.monotonic()
                await store.refresh()
                return time.monotonic() - since
        except TimeoutError:
            return f"no answer within {PATIENCE_S:g} s"
        except RateStoreFailed as error:
            return str(error)
        finally:
            await store.close()

    require_package(settings.rate_store)
    store = rate_store_of(settings)
    return None if store is None else asyncio.run(ask(store))
