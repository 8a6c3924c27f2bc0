"""The store of FOLDLOG_RATE_STORE. Its library is loaded here, and not without it."""

from __future__ import annotations

from ingest.rate_store.store import RateStore
from shared.rate_store import LOCAL, kind_of
from shared.settings import Settings


def rate_store_of(settings: Settings) -> RateStore | None:
    """None where requests are counted on this host only, or not at all."""
    address, window_ms = settings.rate_store, settings.rate_window_ms
    if address == LOCAL or not any((settings.rate_limit, settings.rate_limit_events, settings.rate_limit_bytes)):
        return None
    if kind_of(address) == "redis":
        from ingest.rate_store.redis_store import RedisStore

        return RedisStore(address, window_ms)
    from ingest.rate_store.postgres_store import PostgresStore

    return PostgresStore(address, window_ms)
