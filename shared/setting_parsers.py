"""Parsers of setting values. Each raises ValueError whose text is what it accepts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from shared.host_names import lower_host

if TYPE_CHECKING:
    import ipaddress
    from uuid import UUID

LIMIT_MIN_BYTES = 1 << 20
# A shorter one can be guessed.
SECRET_MIN_CHARS = 20
_LONG_ENOUGH = "{} of at least " + str(SECRET_MIN_CHARS) + " characters: `openssl rand -hex 16` makes one"
_BYTES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")

_URL_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}")
# What Foldlog answers itself, now or later.
_RESERVED = re.compile(r"/(admin|v\d+|healthz|readyz|metrics|openapi\.json|tracker(\.v\d+)?\.js)(/|$)")


def size(text: str) -> int:
    """Bytes from `512 MiB`, `64KiB` or a plain number."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].lower() not in _BYTES:
        raise ValueError("a size such as 67108864, 64 MiB or 1 GiB")
    return int(match[1]) * _BYTES[match[2].lower()]


def limit(text: str) -> int:
    """Bytes, or 0 for no limit. At least 1 MiB: a number without its unit would delete
    nearly everything.
    """
    accepted = "0 for no limit, or a size of at least 1 MiB such as 500 MiB or 20 GiB"
    try:
        found = size(text)
    except ValueError:
        raise ValueError(accepted) from None
    if 0 < found < LIMIT_MIN_BYTES:
        raise ValueError(accepted)
    return found


def duration(text: str) -> float:
    """Seconds from `60`, `60s`, `5m`, `1h` or `1d`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if match is None:
        raise ValueError("a duration such as 60, 60s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def whole_number(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text.strip()):
        raise ValueError("a whole number")
    return int(text)


def flag(text: str) -> bool:
    try:
        return {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }[text.strip().lower()]
    except KeyError:
        raise ValueError("true or false") from None


def words(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[\s,]+", text.strip()) if part)


def secret(text: str) -> str:
    """An empty one is none."""
    found = text.strip()
    if found and len(found) < SECRET_MIN_CHARS:
        raise ValueError(_LONG_ENOUGH.format("a secret"))
    return found


def secrets(text: str) -> tuple[str, ...]:
    found = words(text)
    if any(len(each) < SECRET_MIN_CHARS for each in found):
        raise ValueError(_LONG_ENOUGH.format("secrets"))
    return found


def sites(text: str) -> tuple[str, ...]:
    found = tuple(lower_host(part).removesuffix(".") for part in words(text))
    for site in found:
        if not _HOST.fullmatch(site) and not _is_ipv6(site):
            raise ValueError(
                "host names such as example.com, shop.example.com or [2001:db8::7], without scheme, port, path"
            )
    return found


def url_path(text: str) -> str:
    """A path of a URL that Foldlog has not given to anything else; an empty one is
    none.
    """
    found = text.strip()
    if found and (not _URL_PATH.fullmatch(found) or _RESERVED.match(found)):
        raise ValueError("a path such as /api/analytics that is none of Foldlog's own")
    return found


def url_paths(text: str) -> tuple[str, ...]:
    return tuple(url_path(part) for part in words(text))


def _is_ipv6(site: str) -> bool:
    import ipaddress

    try:
        return site == f"[{ipaddress.IPv6Address(site[1:-1])}]"
    except ValueError:
        return False


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    import ipaddress

    try:
        return tuple(ipaddress.ip_network(part) for part in words(text))
    except ValueError:
        raise ValueError("addresses or networks such as 127.0.0.1, 10.0.0.0/8, fd00::/8") from None


def listen(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("host:port such as 127.0.0.1:8080 or [::1]:8080")
    return host.strip("[]"), int(port)


def cookie(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    if not name or not equals or not value:
        raise ValueError("name=value such as analytics_consent=granted")
    return name, value


def header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{0,64}", text.strip()):
        raise ValueError("the name of a header such as CF-IPCountry")
    return text.strip()


def optional_path(text: str) -> Path | None:
    return Path(text) if text.strip() else None


def time_zone(text: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(text.strip())
    except (ValueError, OSError, KeyError):
        raise ValueError("a zone such as UTC, Europe/Berlin, America/New_York") from None
    return text.strip()


def instance(text: str) -> UUID | None:
    from uuid import UUID

    try:
        return UUID(text.strip()) if text.strip() else None
    except ValueError:
        raise ValueError("the id of an instance, as `foldlog store status` shows it") from None


def one_of(kind: Any) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip() not in get_args(kind):
            raise ValueError(" or ".join(get_args(kind)))
        return text.strip()

    return parse
