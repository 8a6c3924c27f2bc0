"""Authorization: the scopes of a request's secret, and the access rules of the admin
API.

Secrets are compared as digests, as bytes, in constant time.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp.web_request import BaseRequest
from multidict import MultiMapping

from ingest.http.problem import Problem
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.shared_tokens import read_shared_tokens
from shared.tokens import Scope, TokensFile, digest, read_tokens

if TYPE_CHECKING:
    from ingest.context import WorkerContext

_Secret = tuple[bytes, Scope]
# A damaged file is read again that soon, whatever requests ask: it may be large, and a
# mend of its mode or of the disk shows in no stamp.
DAMAGED_AGAIN_S = 5.0


class Keyring:
    """All valid secrets with their scopes, from the settings, from tokens.json and from
    the copy of those that hosts share.

    Each file is read again when it changes. A damaged one costs the secrets that are in
    it: the log says so, the answers do not.
    """

    def __init__(self, data: DataDirectory, settings: Settings, log: Log) -> None:
        self._fixed: list[_Secret] = [(digest(key), "ingest") for key in settings.ingest_keys]
        if settings.admin_token:
            self._fixed.append((digest(settings.admin_token), "admin"))
        self._files = [_File(data.tokens, lambda: read_tokens(data), log)]
        if store := settings.hosts_database:
            self._files.append(_File(data.store_tokens, lambda: read_shared_tokens(data, store), log))

    def scopes(self, headers: MultiMapping[str]) -> frozenset[Scope] | None:
        """The scopes of the request's secret.

        None without an Authorization header, empty for an invalid or repeated one.
        """
        authorization = headers.get("Authorization")
        if authorization is None:
            return None
        secret = _secret(authorization)
        # With two headers, a proxy may have checked the other one.
        if not secret or len(headers.getall("Authorization")) > 1:
            return frozenset()
        kept = [each for file in self._files for each in file.secrets()]
        given = digest(secret)
        return frozenset([scope for digest, scope in (*self._fixed, *kept) if hmac.compare_digest(digest, given)])

    def has_pixel(self, key_digest: bytes) -> bool:
        """Whether this is the digest of a pixel's key that was made here, and not
        revoked. As cheap for many pixels as for one.
        """
        return any([key_digest in file.pixels() for file in self._files])


class _File:
    """The secrets of a file of tokens."""

    def __init__(self, path: Path, read: Callable[[], TokensFile], log: Log) -> None:
        self._path, self._read, self._log = path, read, log
        self._stamp: tuple[int, ...] | None = None
        self._kept: list[_Secret] = []
        self._pixels: frozenset[bytes] = frozenset()
        self._damage = ""
        self._read_at = 0.0

    def secrets(self) -> list[_Secret]:
        """Those that it has now, without keys of pixels: these open nothing else."""
        self._read_if_changed()
        return self._kept

    def pixels(self) -> frozenset[bytes]:
        """The digests of the keys of pixels that it has now."""
        self._read_if_changed()
        return self._pixels

    def _read_if_changed(self) -> None:
        stamp = self._stamp_of_file()
        is_due = bool(self._damage) and time.monotonic() - self._read_at >= DAMAGED_AGAIN_S
        if stamp != self._stamp or is_due:
            self._stamp, self._read_at = stamp, time.monotonic()
            found = self._read()
            every: list[_Secret] = [(bytes.fromhex(token.sha256), token.scope) for token in found.tokens]
            self._kept = [each for each in every if each[1] != "pixel"]
            self._pixels = frozenset([digest for digest, scope in every if scope == "pixel"])
            self._report(found.damage)

    def _stamp_of_file(self) -> tuple[int, ...] | None:
        """Changes whenever the file does; None without one."""
        try:
            found = self._path.lstat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _report(self, damage: str) -> None:
        if damage == self._damage:
            return
        self._damage = damage
        if damage:
            self._log.error(
                "tokens_damaged", path=str(self._path), reason=f"{damage}; `foldlog doctor` says what to do"
            )
        else:
            self._log.info("tokens_readable", path=str(self._path))


async def scopes_of(worker: WorkerContext, request: BaseRequest) -> frozenset[Scope] | None:
    """As `Keyring.scopes`. Raises Problem 429 where too many wrong secrets came from
    the address of the client.
    """
    scopes = worker.keyring.scopes(request.headers)
    if scopes is not None:
        address = worker.proxies.identify(request.remote or "", request.headers).address
        await worker.token_guesses.admit(address, digest_of(request.headers), is_right=bool(scopes))
    return scopes


async def require_read(worker: WorkerContext, request: BaseRequest) -> frozenset[Scope]:
    """The scopes of a request that may read reports.

    Raises Problem 401 without a valid token, 403 for a token that may only write, or
    for a page of another site, 429 for a token that asks too often, or where too many
    were guessed.
    """
    require_same_site(worker, request)
    scopes = await scopes_of(worker, request)
    if scopes is None:
        raise Problem(401, "token", "send a token as Authorization: Bearer <token>, or as the password of Basic")
    if not scopes:
        raise Problem(401, "token", "invalid token; `foldlog token create` makes a new one")
    if not scopes & {"read", "admin"}:
        raise Problem(403, "scope", "this token may only write events")
    worker.count_secret(request.headers, worker.settings.rate_limit_token, "token")
    return scopes


async def require_admin(worker: WorkerContext, request: BaseRequest) -> None:
    """Raises Problem 401 or 403 unless the request has an admin token."""
    if "admin" not in await require_read(worker, request):
        raise Problem(403, "scope", "this token may only read")


def require_same_site(worker: WorkerContext, request: BaseRequest) -> None:
    """Raises Problem 403 for a request that a page of another site caused.

    The browser may hold a Basic password for this server and send it along.
    """
    headers = request.headers
    fetch_site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if fetch_site is None and origin is not None:
        own = worker.proxies.identify(request.remote or "", headers).host
        fetch_site = "same-origin" if origin.partition("//")[2].lower() == own else "cross-site"
    if fetch_site not in {None, "same-origin", "none"}:
        raise Problem(403, "origin", "pages of other sites may not use the admin API")


def digest_of(headers: MultiMapping[str]) -> bytes:
    """The digest of the request's secret, by which a valid one is counted."""
    return digest(_secret(headers.get("Authorization", "")))


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
