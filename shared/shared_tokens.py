"""Tokens that are valid on all hosts of a PostgreSQL store. The store has their hashes;
private/store-tokens.json is this host's copy, which counts until the store answers
again.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import msgspec

from shared.disk.durable import PRIVATE_MODE, publish
from shared.disk.layout import DataDirectory
from shared.stores.address import is_postgres, shown_address
from shared.stores.postgres.migrate import migrated
from shared.tokens import Scope, Token, TokensFile, changing_tokens, new_token, read_private

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
_VALID = """
SELECT id, scope, sha256, created, site, use, sites FROM analytics_tokens
WHERE revoked_at IS NULL ORDER BY created, id"""
_ADD = """
INSERT INTO analytics_tokens (id, scope, sha256, created, site, use, sites) VALUES (%s, %s, %s, %s, %s, %s, %s)"""
_REVOKE = "UPDATE analytics_tokens SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL"


class _Copy(msgspec.Struct, frozen=True):
    """`store`: the address, without its password."""

    store: str
    tokens: tuple[Token, ...]


_COPY = msgspec.json.Decoder(_Copy)


def load_shared_tokens(data: DataDirectory, store: str) -> tuple[Token, ...]:
    """Those of this store that this host knows. None of a damaged copy is valid, until
    the store says them again.
    """
    return read_shared_tokens(data, store).tokens


def read_shared_tokens(data: DataDirectory, store: str) -> TokensFile:
    """What the copy holds of this store. Raises nothing for what is wrong with it."""
    try:
        content = read_private(data.store_tokens)
        found = None if content is None else _COPY.decode(content)
    except OSError as error:
        return TokensFile(damage=f"cannot be read ({error.strerror or error})")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return TokensFile(damage="is damaged")
    is_of_store = found is not None and is_postgres(store) and found.store == shown_address(store)
    return TokensFile(found.tokens if found is not None and is_of_store else ())


def fetch_shared_tokens(data: DataDirectory, store: str) -> None:
    """Copy the valid tokens of the store. Raises StoreUnavailable, StoreRefused and
    TokensBusy.
    """
    with _connected(store) as connection:
        _fetch(data, store, connection)


def create_shared_token(
    data: DataDirectory,
    store: str,
    scope: Scope,
    site: str | None = None,
    use: str | None = None,
    sites: Iterable[str] = (),
) -> tuple[Token, str]:
    """Create a token for all hosts. Its secret is returned once and not stored. Raises
    StoreUnavailable and StoreRefused.
    """
    token, secret = new_token(scope, site, use, sites)
    with _connected(store) as connection:
        of_pixel = token.site, token.use
        connection.execute(_ADD, (token.id, token.scope, token.sha256, token.created, *of_pixel, list(token.sites)))
        _fetch(data, store, connection)
    return token, secret


def revoke_shared_token(data: DataDirectory, store: str, token_id: str) -> bool:
    """Revoke a token on all hosts. False if the store has none with that id. Raises
    StoreUnavailable and StoreRefused.
    """
    with _connected(store) as connection:
        is_revoked = connection.execute(_REVOKE, (token_id,)).rowcount == 1
        _fetch(data, store, connection)
    return is_revoked


def _connected(store: str) -> AbstractContextManager[Connection]:
    return migrated(store, connect_timeout_s=CONNECT_TIMEOUT_S, statement_timeout_ms=STATEMENT_TIMEOUT_MS)


def _fetch(data: DataDirectory, store: str, connection: Connection) -> None:
    """Under the lock, or a process that asked before a revocation would put its copy in
    place of one that asked after it.
    """
    with changing_tokens(data):
        tokens = tuple(_token(*row) for row in connection.execute(_VALID).fetchall())
        content = msgspec.json.encode(_Copy(shown_address(store), tokens)) + b"\n"
        if _stored(data) != content:
            publish(data.store_tokens, content, PRIVATE_MODE)


def _token(
    id_: str, scope: Scope, sha256: str, created: str, site: str | None, use: str | None, sites: list[str]
) -> Token:
    return Token(id_, scope, sha256, created, site, use, tuple(sites))


def _stored(data: DataDirectory) -> bytes | None:
    """The bytes of the copy; None where they cannot be read: it is replaced."""
    try:
        return read_private(data.store_tokens)
    except OSError:
        return None
