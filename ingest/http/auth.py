"""Authorization: the scopes of a request's secret, and the access rules of the admin
API.

Secrets are compared as digests, as bytes, in constant time.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aiohttp.web_request import BaseRequest
from multidict import MultiMapping

from ingest.http.problem import Problem
from ingest.http.reread_file import RereadFile, logs_damage
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.shared_tokens import read_shared_tokens
from shared.tokens import Scope, TokensFile, digest, read_tokens

if TYPE_CHECKING:
    from ingest.context import WorkerContext


class _Secret(NamedTuple):
    """`sites`: those that it is for, none for all."""

    digest: bytes
    scope: Scope
    sites: tuple[str, ...] = ()
    id: str = ""


class Access(NamedTuple):
    """What a request may, by its secret: nothing without scopes.

    `sites`: those that it may see, None for all. `owner`: by which its questions are
    counted. `id`: of its token; empty for a secret of the settings.
    """

    scopes: frozenset[Scope] = frozenset()
    sites: tuple[str, ...] | None = None
    owner: bytes = b""
    id: str = ""

    def question(self, parameters: dict[str, str]) -> dict[str, str]:
        """The question that is answered. Where only some sites may be seen it is about
        one of them. Raises Problem 403 for any other, whether there is one or not.
        """
        if self.sites is None:
            return parameters
        only = self.sites[0] if len(self.sites) == 1 else ""
        site = parameters.get("site") or only
        if site not in self.sites:
            raise Problem(403, "scope", f"this token is for {', '.join(self.sites)}: ask for one of these with site=")
        return {**parameters, "site": site}


class Keyring:
    """All valid secrets with their scopes, from the settings, from tokens.json and from
    the copy of those that hosts share.

    Each file is read again when it changes. A damaged one costs the secrets that are in
    it: the log says so, the answers do not.
    """

    def __init__(self, data: DataDirectory, settings: Settings, log: Log) -> None:
        self._fixed = [_Secret(digest(key), "ingest") for key in settings.ingest_keys]
        if settings.admin_token:
            self._fixed.append(_Secret(digest(settings.admin_token), "admin"))
        self._files = [_File(data.tokens, lambda: read_tokens(data), log)]
        if store := settings.hosts_database:
            self._files.append(_File(data.store_tokens, lambda: read_shared_tokens(data, store), log))

    def scopes(self, headers: MultiMapping[str]) -> frozenset[Scope] | None:
        """The scopes of the request's secret, as those who write are asked for them: a
        token of some sites writes nothing, since an event says its site itself.

        None without an Authorization header, empty for an invalid or repeated one.
        """
        access = self.access(headers)
        if access is None:
            return None
        return access.scopes if access.sites is None else access.scopes and frozenset[Scope](["read"])

    def access(self, headers: MultiMapping[str]) -> Access | None:
        """What the request's secret may.

        None without an Authorization header, without scopes for an invalid or repeated
        one.
        """
        authorization = headers.get("Authorization")
        if authorization is None:
            return None
        secret = _secret(authorization)
        # With two headers, a proxy may have checked the other one.
        if not secret or len(headers.getall("Authorization")) > 1:
            return Access()
        kept = [each for file in self._files for each in file.secrets()]
        given = digest(secret)
        found = [each for each in (*self._fixed, *kept) if hmac.compare_digest(each.digest, given)]
        scopes = frozenset([each.scope for each in found])
        limits = [each.sites for each in found if each.sites]
        return Access(scopes, limits[0] if limits else None, given, found[0].id if found else "")

    def has_pixel(self, key_digest: bytes) -> bool:
        """Whether this is the digest of a pixel's key that was made here, and not
        revoked. As cheap for many pixels as for one.
        """
        return any([key_digest in file.pixels() for file in self._files])


class _File:
    """The secrets of a file of tokens."""

    def __init__(self, path: Path, read: Callable[[], TokensFile], log: Log) -> None:
        self._read = read
        self._file = RereadFile(path, logs_damage(log, path, "tokens_damaged", "tokens_readable"))
        self._kept: list[_Secret] = []
        self._pixels: frozenset[bytes] = frozenset()

    def secrets(self) -> list[_Secret]:
        """Those that it has now, without keys of pixels: these open nothing else."""
        self._read_if_changed()
        return self._kept

    def pixels(self) -> frozenset[bytes]:
        """The digests of the keys of pixels that it has now."""
        self._read_if_changed()
        return self._pixels

    def _read_if_changed(self) -> None:
        seen = self._file.due()
        if seen is not None:
            found = self._read()
            every = [_Secret(bytes.fromhex(each.sha256), each.scope, each.sites, each.id) for each in found.tokens]
            self._kept = [each for each in every if each.scope != "pixel"]
            self._pixels = frozenset([each.digest for each in every if each.scope == "pixel"])
            self._file.was_read(seen, found.damage)


async def scopes_of(worker: WorkerContext, request: BaseRequest) -> frozenset[Scope] | None:
    """As `Keyring.scopes`. Raises Problem 429 where too many wrong secrets came from
    the address of the client.
    """
    scopes = worker.keyring.scopes(request.headers)
    if scopes is not None:
        await _admit(worker, request, is_right=bool(scopes))
    return scopes


async def _admit(worker: WorkerContext, request: BaseRequest, *, is_right: bool) -> None:
    address = worker.proxies.identify(request.remote or "", request.headers).address
    await worker.token_guesses.admit(address, digest_of(request.headers), is_right=is_right)


async def require_access(worker: WorkerContext, request: BaseRequest) -> Access:
    """What a request may that reads reports, perhaps of some sites only: the handler
    answers about no others (`Access.question`).

    Raises Problem 401 without a valid token, 403 for a token that may only write, or
    for a page of another site, 429 for a token that asks too often, or where too many
    were guessed.
    """
    require_same_site(worker, request)
    access = worker.keyring.access(request.headers)
    if access is None:
        raise Problem(401, "token", "send a token as Authorization: Bearer <token>, or as the password of Basic")
    await _admit(worker, request, is_right=bool(access.scopes))
    if not access.scopes:
        raise Problem(401, "token", "invalid token; `foldlog token create` makes a new one")
    if not access.scopes & {"read", "admin"}:
        raise Problem(403, "scope", "this token may only write events")
    worker.count_secret(request.headers, worker.settings.rate_limit_token, "token")
    worker.last_use.note(access.id, worker.now_ms())
    return access


async def require_admin_access(worker: WorkerContext, request: BaseRequest) -> Access:
    """As `require_access`. Raises Problem 401 or 403 unless it is an admin's, perhaps
    of some sites only.
    """
    access = await require_access(worker, request)
    if "admin" not in access.scopes:
        raise Problem(403, "scope", "this token may only read")
    return access


async def require_read(worker: WorkerContext, request: BaseRequest) -> Access:
    """As `require_access`, for what is of all sites together. Raises Problem 403 for a
    token of some sites, too.
    """
    return _of_all_sites(await require_access(worker, request))


async def require_admin(worker: WorkerContext, request: BaseRequest) -> Access:
    """Raises Problem 401 or 403 unless the request has an admin token of all sites."""
    return _of_all_sites(await require_admin_access(worker, request))


def _of_all_sites(access: Access) -> Access:
    if access.sites is not None:
        raise Problem(403, "scope", "this is of all sites, and this token is for some")
    return access


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
