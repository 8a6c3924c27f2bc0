"""FOLDLOG_RATE_STORE: where the requests of a client are counted besides the table of
this host, so that several hosts share one limit.

The address of a store may hold a password: messages show it without.
"""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import SplitResult, unquote, urlsplit

from shared.exit_codes import UsageError
from shared.stores.address import POSTGRES, is_postgres

LOCAL = "local"
# What a store needs besides Foldlog: the extra is named like the kind of store.
_PACKAGES = {"redis": ("redis", "limits"), "postgres": ("psycopg",)}
_REDIS = ("redis", "rediss", "unix")
_ACCEPTED = "local, postgres, or the address of a Redis such as redis://HOST:6379/0, rediss://HOST or unix:///PATH"
_NO_DATABASE = "postgres only where DATABASE_URL is set to postgresql://…"


class RateStorePackageMissing(UsageError):
    """The package of a store is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"FOLDLOG_RATE_STORE needs the package {package}, which is not installed: type "
            f"pip install 'foldlog[{extra}]'"
        )


def parse_rate_store(text: str) -> str:
    """`local`, `postgres`, or the address of a Redis. Raises ValueError with what is
    expected.
    """
    given = text.strip()
    if given in (LOCAL, POSTGRES) or _is_redis(given):
        return given
    raise ValueError(_ACCEPTED)


def _is_redis(address: str) -> bool:
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        return False
    return parts.scheme in _REDIS and (parts.path not in ("", "/") if parts.scheme == "unix" else has_host)


def resolve(rate_store: str, database_url: str) -> str:
    """The same, with the address of DATABASE_URL in place of `postgres`. Raises
    ValueError where it has none.
    """
    if rate_store != POSTGRES:
        return rate_store
    if not is_postgres(database_url):
        raise ValueError(_NO_DATABASE)
    return database_url


def kind_of(rate_store: str) -> str:
    """`local`, `redis` or `postgres`."""
    scheme = rate_store.partition(":")[0]
    return LOCAL if rate_store == LOCAL else "redis" if scheme in _REDIS else POSTGRES


def require_package(rate_store: str) -> None:
    """Raises RateStorePackageMissing. Loads no package."""
    kind = kind_of(rate_store)
    for package in _PACKAGES.get(kind, ()):
        if find_spec(package) is None:
            raise RateStorePackageMissing(kind, package)


def without_secrets(rate_store: str) -> str:
    """The address for people: neither user, password nor parameters."""
    if rate_store in (LOCAL, POSTGRES):
        return rate_store
    parts = _split(rate_store)
    host = (parts.netloc if parts else "").rpartition("@")[2]
    return f"{rate_store.partition(':')[0]}://{host}{parts.path if parts else '…'}"


def secrets_of(rate_store: str) -> set[str]:
    """Each text of the address that no message may repeat, as it is typed and as it is
    meant.
    """
    parts = _split(rate_store)
    if parts is None:
        return {rate_store}
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    options = (option.partition("=") for option in parts.query.split("&"))
    typed = {rate_store, password, *(value for name, _, value in options if "pass" in name)}
    return {text for each in typed for text in (each, unquote(each)) if text}


def _split(address: str) -> SplitResult | None:
    try:
        return urlsplit(address)
    except ValueError:
        return None
