"""Passwords of share links, hashed with scrypt: 16 MiB and some 50 ms for each try, so
that a stolen hash is slow to guess from.

A worker tries one at a time, in a thread, and lets few wait: the event loop goes on
meanwhile, and no flood of tries costs more memory than one does. Only who has a link's
secret gets that far.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

from ingest.http.problem import Problem

LENGTH_MIN, LENGTH_MAX = 8, 200
N, R, P = 1 << 14, 8, 1
_MEMORY_MAX = 64 << 20
_SALT_BYTES, _HASH_BYTES = 16, 32
WAITING_MAX = 8


class PasswordTries:
    """The place of one worker where passwords are hashed."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def make(self, password: str) -> str:
        """What is kept of a new password. Raises Problem 503 where too many wait."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return f"scrypt${salt.hex()}${(await self._hash(password, salt)).hex()}"

    async def is_right(self, password: str, kept: str) -> bool:
        """Whether this is the password. Raises Problem 503 where too many wait."""
        try:
            name, salt, expected = kept.split("$")
            found = await self._hash(password, bytes.fromhex(salt))
            return name == "scrypt" and hmac.compare_digest(found.hex(), expected)
        except ValueError:
            return False

    async def _hash(self, password: str, salt: bytes) -> bytes:
        if self._waiting >= WAITING_MAX:
            raise Problem(503, "busy", "too many passwords are being tried; ask again", retry_after_s=1)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(_scrypt, password, salt)
        finally:
            self._waiting -= 1


def _scrypt(password: str, salt: bytes) -> bytes:
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=N, r=R, p=P, maxmem=_MEMORY_MAX, dklen=_HASH_BYTES)
