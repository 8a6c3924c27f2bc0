"""What is said of a store that failed: without secrets, in one line."""

from __future__ import annotations

from ingest.rate_store.store import RateStoreFailed
from shared.rate_store import secrets_of

_REASON_MAX_CHARS = 300


def failed(rate_store: str, error: BaseException) -> RateStoreFailed:
    """The failure for an error of a library, whose text may repeat what it was
    given.
    """
    text = (str(error).strip() or "no reason given").splitlines()[0]
    for secret in sorted(secrets_of(rate_store), key=len, reverse=True):
        text = text.replace(secret, "…")
    return RateStoreFailed(f"{type(error).__name__}: {text}"[:_REASON_MAX_CHARS])
