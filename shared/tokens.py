"""Tokens as they are kept: only the SHA-256 of each secret, in private/tokens.json.

`ingest` tokens may POST events, `read` tokens may GET reports, `admin` tokens may do
everything.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal

import msgspec

from shared.disk.durable import PRIVATE_MODE, publish
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.timestamps import now_ms, rfc3339

Scope = Literal["ingest", "read", "admin"]


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token: enough to recognise it and to tell a person which one it
    is.
    """

    id: str
    scope: Scope
    sha256: str
    created: str


_TOKENS = msgspec.json.Decoder(tuple[Token, ...])


class TokensDamaged(UsageError):
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
    token = Token(secrets.token_hex(4), scope, digest(secret).hex(), rfc3339(now_ms()))
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


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
