"""The finding that every request comes from one address, probably that of a proxy which
FOLDLOG_TRUSTED_PROXIES does not list.

Then all visitors count as one and share one rate limit. A worker records the finding in
private/one-address.json, without the address; status, metrics, doctor and the next
start read it here.
"""

from __future__ import annotations

import msgspec

from shared.disk.layout import DataDirectory
from shared.settings import Settings

WARNING = (
    "every request without a key comes from one address: if a proxy stands in front of Foldlog, name it in "
    "FOLDLOG_TRUSTED_PROXIES and let it send X-Forwarded-For; until then all visitors count as one and share one "
    "rate limit"
)


class UndeclaredProxy(msgspec.Struct, frozen=True):
    """When it was found, after how many requests, and the proxies trusted at that
    time.
    """

    since: str
    requests: int
    trusted_proxies: str


_UNDECLARED_PROXY = msgspec.json.Decoder(UndeclaredProxy)


def load(data: DataDirectory, settings: Settings) -> UndeclaredProxy | None:
    """The last finding; None if other proxies were trusted then, which makes it
    obsolete.
    """
    try:
        seen = _UNDECLARED_PROXY.decode(data.undeclared_proxy.read_bytes())
    except (FileNotFoundError, PermissionError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return seen if seen.trusted_proxies == trusted_proxies(settings) else None


def warning(data: DataDirectory, settings: Settings) -> str | None:
    """The sentence for the operator; None without a finding."""
    return WARNING if load(data, settings) else None


def trusted_proxies(settings: Settings) -> str:
    return " ".join(str(network) for network in settings.trusted_proxies)
