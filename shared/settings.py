"""Settings: read once, frozen, passed as a value.

Each field is one setting: `FOLDLOG_` and its name in upper case is the environment
variable, its name the key in the optional TOML file. The environment overrides the
file. docs/settings.md documents every field; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shared import setting_parsers
from shared.exit_codes import UsageError
from shared.lateness import ARCHIVE_MIN_DAYS
from shared.rate_store import LOCAL, parse_rate_store, resolve
from shared.stores.address import (
    DATABASE_URL,
    FILE,
    DatabaseUrlUse,
    database_url_use,
    is_clickhouse,
    is_postgres,
    parse_database_url,
    parse_store,
    store_of,
)
from shared.timestamps import DAY_S

if TYPE_CHECKING:
    # Loaded where a value needs them: every process of Foldlog starts with this module.
    import ipaddress
    from uuid import UUID
    from zoneinfo import ZoneInfo

Consent = Literal["required", "implied"]
Durability = Literal["fsync", "os", "store"]
LogLevel = Literal["debug", "info", "warning", "error"]

PREFIX = "FOLDLOG_"
# Descriptors of a worker besides its connections: segments, the reader process, sockets
# of its peers.
OTHER_DESCRIPTORS = 128
CONFIG_FILE = "FOLDLOG_CONFIG"
RETENTION_MAX_DAYS = 36_500


class SettingsError(UsageError, ValueError):
    """Settings or options that cannot be used."""


class InvalidSetting(SettingsError):
    """`setting` accepts `accepted`; `given` is its text, None for a secret."""

    def __init__(self, setting: str, accepted: str, given: str | None) -> None:
        super().__init__(setting, accepted, given)
        self.setting, self.accepted, self.given = setting, accepted, given

    def __str__(self) -> str:
        given = "" if self.given is None else f", not {self.given!r}"
        return f"{self.setting} takes {self.accepted}{given}."


class UnknownSetting(SettingsError):
    """No setting has the name `setting`."""

    def __init__(self, setting: str) -> None:
        super().__init__(setting)
        self.setting = setting

    def __str__(self) -> str:
        return f"{self.setting} is not a setting. docs/settings.md lists them all."


@dataclass(frozen=True)
class Settings:
    """All settings with their defaults. Sizes in bytes, times in seconds, retention in
    days.
    """

    data_dir: Path = Path("data")
    listen: tuple[str, int] = ("127.0.0.1", 8080)
    workers: int = 1
    sites: tuple[str, ...] = ()
    collect_paths: tuple[str, ...] = ()
    script_path: str = ""
    pixel_path: str = ""
    consent: Consent = "required"
    consent_cookie: tuple[str, str] = ("analytics_consent", "granted")
    honor_gpc: bool = True
    honor_dnt: bool = True
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    country_header: str = ""
    country_file: Path | None = None
    exclude_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    referrer_spam_file: Path | None = None
    ingest_keys: tuple[str, ...] = field(default=(), repr=False)
    admin_token: str = field(default="", repr=False)
    max_body_bytes: int = 64 << 10
    max_events: int = 500
    rate_limit: int = 6_000
    rate_limit_events: int = 30_000
    rate_limit_bytes: int = 20_000_000
    rate_limit_key: int = 0
    rate_limit_token: int = 600
    rate_limit_pixel: int = 30_000
    rate_window_ms: int = 60_000
    rate_store: str = field(default=LOCAL, repr=False)
    max_connections: int = 8192
    keep_alive: float = 15.0
    max_connections_per_address: int = 256
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
    max_readers: int = 4
    log_retention_days: int = 30
    archive_retention_days: int = 760
    counters_retention_days: int = 0
    log_max_bytes: int = 0
    archive_max_bytes: int = 0
    counters_max_bytes: int = 0
    disk_reserve: int = 512 << 20
    timezone: str = "UTC"
    max_values: int = 10_000
    store: str = field(default=FILE, repr=False)
    store_cache: int = 4 << 30
    database_url: str = field(default="", repr=False)
    instance: UUID | None = None
    demo: bool = False
    log_file: Path | None = None
    log_level: LogLevel = "info"

    @property
    def hosts_database(self) -> str:
        """The PostgreSQL in which hosts share salts, keys, tokens and erasures: the
        store, or what stands beside it. Empty for none.
        """
        return self.store if is_postgres(self.store) else self.database_url

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


_PARSE: dict[str, Callable[[str], Any]] = {
    "data_dir": Path,
    "listen": setting_parsers.listen,
    "sites": setting_parsers.sites,
    "collect_paths": setting_parsers.url_paths,
    "script_path": setting_parsers.url_path,
    "pixel_path": setting_parsers.url_path,
    "consent": setting_parsers.one_of(Consent),
    "consent_cookie": setting_parsers.cookie,
    "honor_gpc": setting_parsers.flag,
    "honor_dnt": setting_parsers.flag,
    "trusted_proxies": setting_parsers.networks,
    "country_header": setting_parsers.header,
    "country_file": setting_parsers.optional_path,
    "exclude_networks": setting_parsers.networks,
    "referrer_spam_file": setting_parsers.optional_path,
    "ingest_keys": setting_parsers.secrets,
    "admin_token": setting_parsers.secret,
    "max_body_bytes": setting_parsers.size,
    "rate_limit_bytes": setting_parsers.size,
    "keep_alive": setting_parsers.duration,
    "worker_timeout": setting_parsers.duration,
    "durability": setting_parsers.one_of(Durability),
    "segment_max_bytes": setting_parsers.size,
    "segment_max_age": setting_parsers.duration,
    "queue_max_bytes": setting_parsers.size,
    "fold_interval": setting_parsers.duration,
    "fold_memory": setting_parsers.size,
    "report_memory": setting_parsers.size,
    "store_cache": setting_parsers.size,
    "report_timeout": setting_parsers.duration,
    "log_max_bytes": setting_parsers.limit,
    "archive_max_bytes": setting_parsers.limit,
    "counters_max_bytes": setting_parsers.limit,
    "disk_reserve": setting_parsers.size,
    "timezone": setting_parsers.time_zone,
    "store": parse_store,
    "database_url": parse_database_url,
    "instance": setting_parsers.instance,
    "demo": setting_parsers.flag,
    "rate_store": parse_rate_store,
    "log_file": setting_parsers.optional_path,
    "log_level": setting_parsers.one_of(LogLevel),
}

# Their values are in no message.
SECRETS = frozenset({"admin_token", "ingest_keys", "store", "rate_store", "database_url"})

# (smallest, largest): outside this range the service would not work at all.
_RANGE: dict[str, tuple[float, float]] = {
    "workers": (1, 64),
    "max_body_bytes": (1 << 10, 16 << 20),
    "max_events": (1, 10_000),
    "rate_limit": (0, 1_000_000_000),
    "rate_limit_events": (0, 1_000_000_000),
    "rate_limit_bytes": (0, 1 << 40),
    "rate_limit_key": (0, 1_000_000_000),
    "rate_limit_token": (0, 1_000_000_000),
    "rate_limit_pixel": (0, 1_000_000_000),
    "rate_window_ms": (1_000, 3_600_000),
    "max_connections": (16, 1_000_000),
    "keep_alive": (1, 3600),
    "max_connections_per_address": (0, 1_000_000),
    "worker_timeout": (1, 3600),
    "segment_max_bytes": (64 << 10, 2 << 30),
    "segment_max_age": (1, DAY_S),
    "queue_max_bytes": (1 << 20, 4 << 30),
    "queue_max_requests": (1, 1_000_000),
    "fold_interval": (1, DAY_S),
    "fold_memory": (256 << 20, 1 << 40),
    "report_memory": (64 << 20, 1 << 40),
    "store_cache": (0, 1 << 50),
    "report_timeout": (1, 3600),
    "max_readers": (1, 64),
    "log_retention_days": (0, RETENTION_MAX_DAYS),
    "archive_retention_days": (ARCHIVE_MIN_DAYS, RETENTION_MAX_DAYS),
    "counters_retention_days": (0, RETENTION_MAX_DAYS),
    "max_values": (10, 1_000_000),
}


def load(environ: Mapping[str, str], config: Path | None = None) -> Settings:
    """Settings from the environment and a TOML file (`config`, or the path in
    FOLDLOG_CONFIG), which the environment overrides.

    Raises InvalidSetting, UnknownSetting, and SettingsError for an unreadable file.
    """
    given = _given(environ, config)
    known = {field.name for field in fields(Settings)}
    changes: dict[str, Any] = {}
    for key, (shown, text) in given.items():
        if key not in known:
            raise UnknownSetting(shown)
        changes[key] = _value(key, shown, text)
    database_url = environ.get(DATABASE_URL, "").strip()
    try:
        changes["store"] = store_of(changes.get("store"), database_url)
    except ValueError as error:
        raise InvalidSetting(given["store"][0], str(error), None) from None
    if is_clickhouse(changes["store"]) and is_postgres(database_url):
        changes.setdefault("database_url", database_url)
    if "rate_store" in changes:
        changes["rate_store"] = _resolved(given["rate_store"][0], changes["rate_store"], database_url)
    _require_postgres(changes, given)
    if changes.get("pixel_path") and changes["pixel_path"] == changes.get("script_path"):
        raise InvalidSetting(given["pixel_path"][0], "another path than FOLDLOG_SCRIPT_PATH", None)
    return replace(Settings(), **changes)


def find_database_url_use(environ: Mapping[str, str], config: Path | None = None) -> DatabaseUrlUse | None:
    """What is worth a word about DATABASE_URL, with settings that `load` accepts."""
    given = _given(environ, config)
    store, rate_store = (given[key][1].strip() if key in given else None for key in ("store", "rate_store"))
    return database_url_use(store, environ.get(DATABASE_URL, "").strip(), rate_store)


def _given(environ: Mapping[str, str], config: Path | None) -> dict[str, tuple[str, str]]:
    """By key: where a setting was found, and its text."""
    if config is None and environ.get(CONFIG_FILE):
        config = Path(environ[CONFIG_FILE])
    given = _from_file(config) if config else {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and name != CONFIG_FILE:
            given[name.removeprefix(PREFIX).lower()] = (name, text)
    return given


def _require_postgres(changes: Mapping[str, Any], given: Mapping[str, tuple[str, str]]) -> None:
    """Raises InvalidSetting for what only a PostgreSQL store can do."""
    if is_postgres(changes["store"]):
        return
    for name, wanted in (("durability", "store"), ("instance", changes.get("instance"))):
        if wanted and changes.get(name) == wanted:
            accepted = f"{wanted} only with a PostgreSQL store: set FOLDLOG_STORE to postgresql://… as well"
            raise InvalidSetting(given[name][0], accepted, None)


def _resolved(shown: str, rate_store: str, database_url: str) -> str:
    try:
        return resolve(rate_store, database_url)
    except ValueError as error:
        raise InvalidSetting(shown, str(error), None) from None


def _value(key: str, shown: str, text: str) -> Any:
    try:
        value = _PARSE.get(key, setting_parsers.whole_number)(text)
    except ValueError as error:
        given = None if key in SECRETS else text
        raise InvalidSetting(shown, str(error), given) from None
    low, high = _RANGE.get(key, (float("-inf"), float("inf")))
    if isinstance(value, (int, float)) and not low <= value <= high:
        raise InvalidSetting(shown, f"{low:g} to {high:g}", text)
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
