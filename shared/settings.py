"""Settings: read once, frozen, passed as a value.

Each field is one setting: `FOLDLOG_` and its name in upper case is the environment
variable, its name the key in the optional TOML file. The environment overrides the
file. docs/settings.md documents every field; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from shared.exit_codes import UsageError
from shared.lateness import ARCHIVE_MIN_DAYS

if TYPE_CHECKING:
    # Loaded where a value needs them: every process of Foldlog starts with this module.
    import ipaddress
    from zoneinfo import ZoneInfo

Consent = Literal["required", "implied"]
Durability = Literal["fsync", "os"]
Store = Literal["file"]
LogLevel = Literal["debug", "info", "warning", "error"]

PREFIX = "FOLDLOG_"
# What a worker needs beside its connections: segments, the reader process, sockets of
# its peers.
OTHER_DESCRIPTORS = 128
CONFIG_FILE = "FOLDLOG_CONFIG"
LIMIT_MIN_BYTES = 1 << 20
RETENTION_MAX_DAYS = 36_500

_BYTES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class SettingsError(UsageError, ValueError):
    """An unusable setting. The message contains its name and what is accepted."""


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults. Sizes in bytes, times in seconds, retention in
    days.
    """

    data_dir: Path = Path("data")
    listen: tuple[str, int] = ("127.0.0.1", 8080)
    workers: int = 1
    sites: tuple[str, ...] = ()
    consent: Consent = "required"
    consent_cookie: tuple[str, str] = ("analytics_consent", "granted")
    honor_gpc: bool = True
    honor_dnt: bool = True
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    country_header: str = ""
    country_file: Path | None = None
    ingest_keys: tuple[str, ...] = field(default=(), repr=False)
    admin_token: str = field(default="", repr=False)
    max_body_bytes: int = 64 << 10
    max_events: int = 500
    rate_limit: int = 600
    rate_window_ms: int = 60_000
    max_connections: int = 8192
    worker_timeout: float = 30.0
    durability: Durability = "fsync"
    segment_max_bytes: int = 64 << 20
    segment_max_age: float = 60.0
    queue_max_bytes: int = 32 << 20
    queue_max_requests: int = 10_000
    fold_interval: float = 60.0
    fold_memory: int = 256 << 20
    report_memory: int = 256 << 20
    report_timeout: float = 60.0
    log_retention_days: int = 30
    archive_retention_days: int = 760
    counters_retention_days: int = 0
    log_max_bytes: int = 0
    archive_max_bytes: int = 0
    counters_max_bytes: int = 0
    disk_reserve: int = 512 << 20
    timezone: str = "UTC"
    max_values: int = 10_000
    store: Store = "file"
    log_file: Path | None = None
    log_level: LogLevel = "info"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone whose midnight changes the visitor salt and starts a day of
        visitor counts.
        """
        from zoneinfo import ZoneInfo

        return ZoneInfo(self.timezone)

    @property
    def dashboard(self) -> str:
        """The address of the dashboard for a browser on this host."""
        host, port = self.listen
        return f"http://{format_address(reachable_host(host), port)}/admin/"

    @property
    def fold_late_after_s(self) -> float:
        """Above this age of the last pass, readiness, status and doctor report the
        compactor as late.
        """
        return 3 * self.fold_interval


def reachable_host(host: str) -> str:
    """An address of this host at which a socket that is bound to `host` accepts."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def format_address(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def size(text: str) -> int:
    """Bytes from `512 MiB`, `64KiB` or a plain number."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].lower() not in _BYTES:
        raise ValueError("a size such as 67108864, 64 MiB or 1 GiB")
    return int(match[1]) * _BYTES[match[2].lower()]


def _limit(text: str) -> int:
    """Bytes, or 0 for no limit. At least 1 MiB: a number without its unit would delete
    nearly everything.
    """
    takes = "0 for no limit, or a size of at least 1 MiB such as 500 MiB or 20 GiB"
    try:
        limit = size(text)
    except ValueError:
        raise ValueError(takes) from None
    if 0 < limit < LIMIT_MIN_BYTES:
        raise ValueError(takes)
    return limit


def duration(text: str) -> float:
    """Seconds from `60`, `60s`, `5m`, `1h` or `1d`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if match is None:
        raise ValueError("a duration such as 60, 60s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text.strip()):
        raise ValueError("a whole number")
    return int(text)


def _flag(text: str) -> bool:
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


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[\s,]+", text.strip()) if part)


def _sites(text: str) -> tuple[str, ...]:
    sites = tuple(part.lower() for part in _list(text))
    for site in sites:
        if not _HOST.fullmatch(site):
            raise ValueError("host names such as example.com, www.example.com, without scheme, port and path")
    return sites


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    import ipaddress

    try:
        return tuple(ipaddress.ip_network(part) for part in _list(text))
    except ValueError:
        raise ValueError("addresses or networks such as 127.0.0.1, 10.0.0.0/8, fd00::/8") from None


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("host:port such as 127.0.0.1:8080 or [::1]:8080")
    return host.strip("[]"), int(port)


def _cookie(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    if not name or not equals or not value:
        raise ValueError("name=value such as analytics_consent=granted")
    return name, value


def _header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{0,64}", text.strip()):
        raise ValueError("the name of a header such as CF-IPCountry")
    return text.strip()


def _file(text: str) -> Path | None:
    return Path(text) if text.strip() else None


def _timezone(text: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(text.strip())
    except (ValueError, OSError, KeyError):
        raise ValueError("a zone such as UTC, Europe/Berlin, America/New_York") from None
    return text.strip()


def _choice(kind: Any) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip() not in get_args(kind):
            raise ValueError(" or ".join(get_args(kind)))
        return text.strip()

    return parse


_PARSE: dict[str, Callable[[str], Any]] = {
    "data_dir": Path,
    "listen": _listen,
    "sites": _sites,
    "consent": _choice(Consent),
    "consent_cookie": _cookie,
    "honor_gpc": _flag,
    "honor_dnt": _flag,
    "trusted_proxies": _networks,
    "country_header": _header,
    "country_file": _file,
    "ingest_keys": _list,
    "admin_token": str.strip,
    "max_body_bytes": size,
    "worker_timeout": duration,
    "durability": _choice(Durability),
    "segment_max_bytes": size,
    "segment_max_age": duration,
    "queue_max_bytes": size,
    "fold_interval": duration,
    "fold_memory": size,
    "report_memory": size,
    "report_timeout": duration,
    "log_max_bytes": _limit,
    "archive_max_bytes": _limit,
    "counters_max_bytes": _limit,
    "disk_reserve": size,
    "timezone": _timezone,
    "store": _choice(Store),
    "log_file": _file,
    "log_level": _choice(LogLevel),
}

# (smallest, largest): outside this range the service would not work at all.
_RANGE: dict[str, tuple[float, float]] = {
    "workers": (1, 64),
    "max_body_bytes": (1 << 10, 16 << 20),
    "max_events": (1, 10_000),
    "rate_limit": (0, 1_000_000_000),
    "rate_window_ms": (1_000, 3_600_000),
    "max_connections": (16, 1_000_000),
    "worker_timeout": (1, 3600),
    "segment_max_bytes": (64 << 10, 2 << 30),
    "segment_max_age": (1, _SECONDS["d"]),
    "queue_max_bytes": (1 << 20, 4 << 30),
    "queue_max_requests": (1, 1_000_000),
    "fold_interval": (1, _SECONDS["d"]),
    "fold_memory": (128 << 20, 1 << 40),
    "report_memory": (64 << 20, 1 << 40),
    "report_timeout": (1, 3600),
    "log_retention_days": (0, RETENTION_MAX_DAYS),
    "archive_retention_days": (ARCHIVE_MIN_DAYS, RETENTION_MAX_DAYS),
    "counters_retention_days": (0, RETENTION_MAX_DAYS),
    "max_values": (10, 1_000_000),
}


def load(environ: Mapping[str, str], config: Path | None = None) -> Settings:
    """Settings from a TOML file (`config`, or the path in FOLDLOG_CONFIG) and the
    environment, which wins.

    Raises SettingsError for an unknown name, an unreadable file or a value out of
    range.
    """
    if config is None and environ.get(CONFIG_FILE):
        config = Path(environ[CONFIG_FILE])
    given = _from_file(config) if config else {}
    known = {field.name for field in fields(Settings)}
    for name, text in environ.items():
        if name.startswith(PREFIX) and name != CONFIG_FILE:
            given[name.removeprefix(PREFIX).lower()] = (name, text)
    changes: dict[str, Any] = {}
    for key, (shown, text) in given.items():
        if key not in known:
            raise SettingsError(f"{shown} is not a setting. docs/settings.md lists them all.")
        changes[key] = _value(key, shown, text)
    return replace(Settings(), **changes)


def _value(key: str, shown: str, text: str) -> Any:
    try:
        value = _PARSE.get(key, _whole)(text)
    except ValueError as error:
        # These two are secrets, which a message must not contain.
        was = "" if key in {"ingest_keys", "admin_token"} else f", not {text!r}"
        raise SettingsError(f"{shown} takes {error}{was}.") from None
    low, high = _RANGE.get(key, (float("-inf"), float("inf")))
    if isinstance(value, (int, float)) and not low <= value <= high:
        raise SettingsError(f"{shown} takes {low:g} to {high:g}, not {text!r}.")
    return value


def _from_file(path: Path) -> dict[str, tuple[str, str]]:
    import tomllib

    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}") from None
    return {key: (f"{key} in {path}", _toml_text(value)) for key, value in table.items()}


def _toml_text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
