"""The form of a site: a host name. Door, fold and settings compare hosts in this form:
in lower case, without user, port and the dots that end a full name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from string import ascii_uppercase

# In lower case. The last form is an IPv6 address.
SITE = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]")
# As `host_name` of compactor/fold/working_tables.sql takes it apart.
_NETLOC = re.compile(r"(?:[^?#]*@)?(\[[^\]?#@]*\]|[^?#:@\[]*)(?::[0-9]*)?")
_LOWER = {ord(char): char.lower() for char in ascii_uppercase}
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def lower_host(text: str) -> str:
    """In lower case as DNS compares names: A to Z alone. The lower case of other
    letters may be longer, or be one of a to z (`İ`, the Kelvin sign), and then a host
    would be taken for another one. `host_name` of compactor/fold/working_tables.sql
    does the same.
    """
    return text.lower() if text.isascii() else text.translate(_LOWER)


def host_of(netloc: str) -> str:
    """The host of `user@Host.:443`: `host`. What is no host and port stays as it is."""
    match = _NETLOC.fullmatch(netloc)
    return lower_host(match[1] if match else netloc).rstrip(".")


def comparable(netloc: str, scheme: str) -> str:
    """Host and port in one spelling: without the port that `scheme` has anyway."""
    lower = lower_host(netloc)
    if lower.endswith(_DEFAULT_PORTS.get(scheme, " ")):
        lower = lower.rpartition(":")[0]
    host, colon, port = lower.rpartition(":")
    return f"{host.rstrip('.')}:{port}" if colon and port.isdecimal() else lower.rstrip(".")


def own_hosts(sites: Iterable[str]) -> list[str]:
    """The hosts that are the operator's own: `sites`, each with and without `www.`."""
    return sorted({host for site in sites for host in (site, other_spelling(site))})


def listed_site(host: str, sites: Collection[str]) -> str | None:
    """Which of `sites` a host is: itself, else the one that differs by `www.` alone;
    None if it is none of them.
    """
    return next((each for each in (host, other_spelling(host)) if each in sites), None)


def is_site(host: str, sites: Collection[str]) -> bool:
    """Whether events can be of it: it has the form, and is one of `sites` if these are
    listed.
    """
    return SITE.fullmatch(host) is not None and (not sites or host in sites)


def other_spelling(host: str) -> str:
    """With `www.` if it is without, and the other way round."""
    return host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
