"""The key under which clients are hashed before their name is sent to a store.

It is random, lies in the store, so that all hosts have the same, and lasts a day: no
hash can be followed over two.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from hashlib import blake2b

KEY_BYTES = 32
KEY_LASTS_S = 86_400
NAME_BYTES = 16


class HashKey:
    """The key as this process knows it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = b""
        self._until = float("-inf")

    def set(self, key: bytes, left_s: float) -> None:
        """What the store said: the key, and how long it still lasts."""
        self._key, self._until = key, self._clock() + left_s

    @property
    def is_over(self) -> bool:
        """Whether the store has another one by now."""
        return self._clock() >= self._until

    def name(self, client: str) -> bytes:
        """The hash of a client."""
        return blake2b(client.encode("utf-8", "surrogateescape"), digest_size=NAME_BYTES, key=self._key).digest()


def make_key() -> bytes:
    """A new one."""
    return secrets.token_bytes(KEY_BYTES)
