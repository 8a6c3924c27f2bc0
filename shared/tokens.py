"""Tokens in private/tokens.json, which holds only the SHA-256 of each secret.

`ingest` tokens may POST events, `read` tokens may GET reports, `admin` tokens may do
everything; a `pixel` token is the key of a pixel (pixel_keys.py). Changes are made one
at a time, under a lock: a token that was revoked meanwhile does not come back, and none
that was made is lost.

A damaged file costs what is in it, and no more: an entry that is no token is not valid,
and stays in the file beside the others. Who asks is not told.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from shared.disk.bounded_read import read_bounded
from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, move, publish
from shared.disk.layout import DataDirectory
from shared.disk.locks import held
from shared.exit_codes import TemporaryFailure, UsageError
from shared.pixel_keys import make_pixel_key
from shared.timestamps import now_ms, rfc3339

Scope = Literal["ingest", "read", "admin", "pixel"]
# Some 20,000 tokens. A file is read no further.
FILE_MAX_BYTES = 4 << 20
# A change takes milliseconds; a host of a store asks that first.
LOCK_TIMEOUT_S = 60.0
# Of one token.
SITES_MAX = 100
# What a token may be for some sites only: senders choose the site of each event.
BY_SITE: tuple[Scope, ...] = ("admin", "read")


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token without its secret. `sha256`: in hex. `site` and `use` are those of a
    pixel; `sites` those that a token to read or administer is for, none for all.
    """

    id: str
    scope: Scope
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    created: str
    site: str | None = None
    use: str | None = None
    sites: tuple[str, ...] = ()


class TokensFile(NamedTuple):
    """What tokens.json holds: tokens, other entries as they stand, and what is wrong
    with it (empty: nothing).
    """

    tokens: tuple[Token, ...] = ()
    bad: tuple[msgspec.Raw, ...] = ()
    damage: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether not even its entries can be told apart."""
        return bool(self.damage) and not self.bad


_TOKEN = msgspec.json.Decoder(Token)
_ENTRIES = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


class TokensDamaged(UsageError):
    """tokens.json cannot be read, so no token in it can be revoked."""

    def __init__(self, path: Path, damage: str) -> None:
        super().__init__(path, damage)
        self.path, self.damage = path, damage

    def __str__(self) -> str:
        return (
            f"{self.path} {self.damage}: no token in it is valid; restore it, or make new ones with "
            "`foldlog token create`"
        )


class TokensBusy(TemporaryFailure):
    """Another process keeps the lock."""

    def __str__(self) -> str:
        return f"another process has been changing tokens for {LOCK_TIMEOUT_S:g} s; try again"


def load_tokens(data: DataDirectory) -> tuple[Token, ...]:
    """The tokens that are not revoked; of a damaged file those that can be read."""
    return read_tokens(data).tokens


def read_tokens(data: DataDirectory) -> TokensFile:
    """What tokens.json holds. Raises nothing for what is wrong with it."""
    try:
        content = read_private(data.tokens)
        entries = _ENTRIES.decode(content) if content is not None else ()
    except OSError as error:
        return TokensFile(damage=f"cannot be read ({error.strerror or error})")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return TokensFile(damage="is damaged")
    found = [(_token(entry), entry) for entry in entries]
    bad = tuple(msgspec.Raw(bytes(entry)) for token, entry in found if token is None)
    damage = f"has {len(bad)} of {len(found)} entries that are no token" if bad else ""
    return TokensFile(tuple(token for token, _ in found if token is not None), bad, damage)


def _token(entry: msgspec.Raw) -> Token | None:
    try:
        return _TOKEN.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_private(path: Path) -> bytes | None:
    """The bytes of a file of tokens; None if there is none. Raises OSError, also for
    what is no file, and for more than FILE_MAX_BYTES.
    """
    return read_bounded(path, FILE_MAX_BYTES)


def create_token(
    data: DataDirectory, scope: Scope, site: str | None = None, use: str | None = None, sites: Iterable[str] = ()
) -> tuple[Token, str]:
    """Create a token. Its secret is returned once and not stored. A file that cannot be
    read is kept under another name. Raises TokensBusy.
    """
    token, secret = new_token(scope, site, use, sites)
    with changing_tokens(data):
        _add(data, token)
    return token, secret


def create_first_admin(data: DataDirectory) -> str | None:
    """The secret of a new admin token, if there is none. A file that is damaged may
    have one: then none is made. Raises TokensBusy.
    """
    token, secret = new_token("admin")
    with changing_tokens(data):
        found = read_tokens(data)
        if found.damage or any(each.scope == "admin" for each in found.tokens):
            return None
        _add(data, token)
    return secret


def new_token(
    scope: Scope, site: str | None = None, use: str | None = None, sites: Iterable[str] = ()
) -> tuple[Token, str]:
    """A token that is nowhere yet, and its secret; that of a pixel has a site and a
    use. Without `sites` it is for all.
    """
    id_ = secrets.token_hex(4)
    secret = make_pixel_key(id_, site, use) if site and use else f"fl_{scope}_{secrets.token_urlsafe(24)}"
    of_sites = tuple(sorted(set(sites)))
    return Token(id_, scope, digest(secret).hex(), rfc3339(now_ms()), site, use, of_sites), secret


def revoke_token(data: DataDirectory, token_id: str) -> bool:
    """Delete a token. False if no token has that id. Raises TokensDamaged and
    TokensBusy.
    """
    with changing_tokens(data):
        found = read_tokens(data)
        if found.is_lost:
            raise TokensDamaged(data.tokens, found.damage)
        left = tuple(token for token in found.tokens if token.id != token_id)
        if len(left) == len(found.tokens):
            return False
        _save(data, left, found.bad)
    return True


@contextmanager
def changing_tokens(data: DataDirectory) -> Iterator[None]:
    """The right to read tokens, change them and write them, which one process at a time
    has. Raises TokensBusy.
    """
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    with held(data.tokens_lock, LOCK_TIMEOUT_S, TokensBusy):
        yield


def _add(data: DataDirectory, token: Token) -> None:
    found = read_tokens(data)
    if found.is_lost:
        move(data.tokens, data.damaged_tokens(secrets.token_hex(4)))
    _save(data, (*found.tokens, token), found.bad)


def _save(data: DataDirectory, tokens: tuple[Token, ...], bad: tuple[msgspec.Raw, ...]) -> None:
    publish(data.tokens, msgspec.json.encode((*tokens, *bad)) + b"\n", PRIVATE_MODE)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
