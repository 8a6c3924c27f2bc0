"""Keys and tokens: who may write without being a page, and who may read. Only their SHA-256 is kept (private/tokens.json).

`ingest` tokens may POST events, `read` tokens may GET reports, `admin` tokens may do everything. Comparisons are of digests,
as bytes, in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Literal

import msgspec
from multidict import MultiMapping

from shared.disk.durable import PRIVATE_MODE, publish
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339

Scope = Literal["ingest", "read", "admin"]


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token: enough to recognise it and to tell a person which one it is."""

    id: str
    scope: Scope
    sha256: str
    created: str


_TOKENS = msgspec.json.Decoder(tuple[Token, ...])


class TokensDamaged(Exception):
    """tokens.json is there but cannot be read. Says what to do next."""


def load_tokens(data: DataDirectory) -> tuple[Token, ...]:
    """The tokens that were made and not revoked. Raises TokensDamaged."""
    try:
        return _TOKENS.decode(data.tokens.read_bytes())
    except FileNotFoundError:
        return ()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TokensDamaged(
            f"{data.tokens} cannot be read: restore it, or move it away and make new tokens with `foldlog token create`"
        ) from None


def create_token(data: DataDirectory, scope: Scope) -> tuple[Token, str]:
    """Make and keep a token. The secret is returned here and never again."""
    secret = f"fl_{scope}_{secrets.token_urlsafe(24)}"
    token = Token(secrets.token_hex(4), scope, _digest(secret).hex(), rfc3339(now_ms()))
    _save(data, (*load_tokens(data), token))
    return token, secret


def revoke_token(data: DataDirectory, token_id: str) -> bool:
    """Forget a token. False when there is none with that id."""
    tokens = load_tokens(data)
    left = tuple(token for token in tokens if token.id != token_id)
    if len(left) == len(tokens):
        return False
    _save(data, left)
    return True


def _save(data: DataDirectory, tokens: tuple[Token, ...]) -> None:
    publish(data.tokens, msgspec.json.encode(tokens) + b"\n", PRIVATE_MODE)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class Keyring:
    """The scopes of all valid secrets: those in the settings and those in tokens.json, which may change while we run."""

    def __init__(self, data: DataDirectory, settings: Settings) -> None:
        self._data = data
        self._fixed: list[tuple[bytes, Scope]] = [(_digest(key), "ingest") for key in settings.ingest_keys]
        if settings.admin_token:
            self._fixed.append((_digest(settings.admin_token), "admin"))
        self._stamp: tuple[int, int] | None = None
        self._kept: list[tuple[bytes, Scope]] = []

    def scopes(self, headers: MultiMapping[str]) -> frozenset[Scope] | None:
        """What the request's Authorization allows; None when it has none, empty when it is not valid, or not one."""
        authorization = headers.get("Authorization")
        if authorization is None:
            return None
        secret = _secret(authorization)
        # Of two headers a proxy may have checked the one, and we the other.
        if not secret or len(headers.getall("Authorization")) > 1:
            return frozenset()
        self._refresh()
        given = _digest(secret)
        return frozenset([scope for digest, scope in (*self._fixed, *self._kept) if hmac.compare_digest(digest, given)])

    def _refresh(self) -> None:
        try:
            found = self._data.tokens.stat()
        except FileNotFoundError:
            self._stamp, self._kept = None, []
            return
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp != self._stamp:
            self._kept = []  # a file that cannot be read opens nothing
            self._kept = [(bytes.fromhex(token.sha256), token.scope) for token in load_tokens(self._data)]
            self._stamp = stamp


def _secret(authorization: str) -> str:
    kind, _, rest = authorization.partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[2]
        except ValueError:  # not base64, not ASCII, not UTF-8
            return ""
    return ""
