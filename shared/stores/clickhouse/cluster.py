"""The address of a ClickHouse store: where its shards are, and how the servers know
each other.

`clickhouse://USER:PASSWORD@HOST:8123,HOST:8123/DATABASE?cluster=NAME&secure=1&ca=PATH`
names one HTTP endpoint for each shard, in an order that must not change: it decides
which shard has an event.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEME = "clickhouse://"
ACCEPTED = (
    "clickhouse://USER:PASSWORD@HOST:PORT/DATABASE; of several shards HOST:PORT,HOST:PORT and ?cluster=NAME, "
    "which the servers know them by; ?secure=1 and ?ca=FILE for TLS"
)
_PORT, _SECURE_PORT = 8123, 8443
_OPTIONS = frozenset({"cluster", "secure", "ca"})
# They stand in SQL, where no name can be a parameter.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class Endpoint(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Cluster(NamedTuple):
    """`name` is that of the cluster in the configuration of the servers, empty for one
    shard. `ca`: a file of certificates, None for those of the system.
    """

    shards: tuple[Endpoint, ...]
    database: str
    user: str = "default"
    password: str = ""
    name: str = ""
    is_secure: bool = False
    ca: str | None = None

    def __str__(self) -> str:
        """How messages name it: without the password."""
        return f"the ClickHouse store {', '.join(map(str, self.shards))}/{self.database}"


def parse_cluster(address: str) -> Cluster:
    """Raises ValueError with what is expected."""
    found = urlsplit(address)
    options = dict(parse_qsl(found.query, keep_blank_values=True))
    user, _, servers = found.netloc.rpartition("@")
    name, _, password = user.partition(":")
    is_secure = options.get("secure", "0") == "1"
    try:
        shards = tuple(_endpoint(each, _SECURE_PORT if is_secure else _PORT) for each in servers.split(","))
    except ValueError:
        raise ValueError(ACCEPTED) from None
    database, cluster = found.path.removeprefix("/") or "default", options.get("cluster", "")
    is_named = _NAME.fullmatch(cluster) if len(shards) > 1 else not cluster or _NAME.fullmatch(cluster)
    is_known = options.keys() <= _OPTIONS and options.get("secure", "0") in {"0", "1"} and not found.fragment
    if not (address.startswith(SCHEME) and is_named and is_known and _NAME.fullmatch(database)):
        raise ValueError(ACCEPTED)
    if len(set(shards)) < len(shards):
        raise ValueError(ACCEPTED)
    return Cluster(
        shards, database, unquote(name) or "default", unquote(password), cluster, is_secure, options.get("ca")
    )


def _endpoint(text: str, port: int) -> Endpoint:
    found = urlsplit(f"//{text}")
    if not found.hostname or found.username or "/" in text:
        raise ValueError(text)
    return Endpoint(found.hostname, found.port or port)
