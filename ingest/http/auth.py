"""Who may write without being a page, and who may read: the scopes of a request's
secret.

Comparisons are of digests, as bytes, in constant time.
"""

from __future__ import annotations

import base64
import hmac

from multidict import MultiMapping

from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.tokens import Scope, digest, load_tokens


class Keyring:
    """The scopes of all valid secrets: those in the settings and those in tokens.json,
    which may change while we run.
    """

    def __init__(self, data: DataDirectory, settings: Settings) -> None:
        self._data = data
        self._fixed: list[tuple[bytes, Scope]] = [(digest(key), "ingest") for key in settings.ingest_keys]
        if settings.admin_token:
            self._fixed.append((digest(settings.admin_token), "admin"))
        self._stamp: tuple[int, int] | None = None
        self._kept: list[tuple[bytes, Scope]] = []

    def scopes(self, headers: MultiMapping[str]) -> frozenset[Scope] | None:
        """What the request's Authorization allows; None when it has none, empty when it
        is not valid, or not one.
        """
        authorization = headers.get("Authorization")
        if authorization is None:
            return None
        secret = _secret(authorization)
        # Of two headers a proxy may have checked the one, and we the other.
        if not secret or len(headers.getall("Authorization")) > 1:
            return frozenset()
        self._refresh()
        given = digest(secret)
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
