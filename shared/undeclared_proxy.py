"""The finding that every request comes from one address: a proxy stands in front that
FOLDLOG_TRUSTED_PROXIES does not name.

All visitors would count as one and share one rate limit. A worker records the finding
in private/one-address.json, without the address; status, metrics, doctor and the next
start read it here.
"""

from __future__ import annotations

import msgspec

from shared.disk.layout import DataDirectory
from shared.settings import Settings

WARNING = (
    "every request without a key comes from one address: if a proxy stands in front of Foldlog, name it in "
    "FOLDLOG_TRUSTED_PROXIES and let it send X-Forwarded-For; until then all visitors count as one and share one rate limit"
)


class UndeclaredProxy(msgspec.Struct, frozen=True):
    """When it was noticed, after how many requests, and with which proxies trusted."""

    since: str
    requests: int
    trusted_proxies: str


_UNDECLARED_PROXY = msgspec.json.Decoder(UndeclaredProxy)


def load(data: DataDirectory, settings: Settings) -> UndeclaredProxy | None:
    """What was seen last, if the same proxies were trusted then: with others it says
    nothing any more.
    """
    try:
        seen = _UNDECLARED_PROXY.decode(data.one_address.read_bytes())
    except (FileNotFoundError, PermissionError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return seen if seen.trusted_proxies == trusted_proxies(settings) else None


def warning(data: DataDirectory, settings: Settings) -> str | None:
    """The sentence for an operator, or None when there is nothing to say."""
    return WARNING if load(data, settings) else None


def trusted_proxies(settings: Settings) -> str:
    return " ".join(str(network) for network in settings.trusted_proxies)
