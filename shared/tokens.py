"""Tokens in private/tokens.json, which holds only the SHA-256 of each secret.

`ingest` tokens may POST events, `read` tokens may GET reports, `admin` tokens may do
everything.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Literal

import msgspec

from shared.disk.durable import PRIVATE_MODE, publish
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.timestamps import now_ms, rfc3339

Scope = Literal["ingest", "read", "admin"]


class Token(msgspec.Struct, frozen=True):
    """A token without its secret."""

    id: str
    scope: Scope
    sha256: str
    created: str


_TOKENS = msgspec.json.Decoder(tuple[Token, ...])


class TokensDamaged(UsageError):
    """tokens.json exists and cannot be decoded."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be read: restore it, or move it away and make new tokens with `foldlog token create`"
        )


def load_tokens(data: DataDirectory) -> tuple[Token, ...]:
    """The tokens that are not revoked. Raises TokensDamaged."""
    try:
        return _TOKENS.decode(data.tokens.read_bytes())
    except FileNotFoundError:
        return ()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TokensDamaged(data.tokens) from None


def create_token(data: DataDirectory, scope: Scope) -> tuple[Token, str]:
    """Create a token. Its secret is returned once and not stored. Raises
    TokensDamaged.
    """
    token, secret = new_token(scope)
    _save(data, (*load_tokens(data), token))
    return token, secret


def new_token(scope: Scope) -> tuple[Token, str]:
    """A token that is nowhere yet, and its secret."""
    secret = f"fl_{scope}_{secrets.token_urlsafe(24)}"
    return Token(secrets.token_hex(4), scope, digest(secret).hex(), rfc3339(now_ms())), secret


def revoke_token(data: DataDirectory, token_id: str) -> bool:
    """Delete a token. False if no token has that id. Raises TokensDamaged."""
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
