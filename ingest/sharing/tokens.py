"""This host's copy of the tokens that are valid on all hosts of a PostgreSQL store."""

from __future__ import annotations

from shared.disk.layout import DataDirectory
from shared.shared_tokens import fetch_shared_tokens

# A revoked token is valid on another host for about that long at most, while the store
# answers.
FETCH_S = 15.0


class SharedTokens:
    """`store`: the address of a PostgreSQL store. While it is down the last copy is
    valid.
    """

    failing = "store_tokens_failed"
    working = "store_tokens_shared"

    def __init__(self, data: DataDirectory, store: str) -> None:
        self._data, self._store = data, store

    def turn(self) -> bool:
        """Copy the tokens now."""
        fetch_shared_tokens(self._data, self._store)
        return True

    def pause_s(self) -> float:
        return FETCH_S

    def failed(self) -> None:
        return
