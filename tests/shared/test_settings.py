"""Settings: each value is understood or refused with the setting's name and what it
takes; a secret is never repeated.
"""

from __future__ import annotations

import dataclasses
import uuid
from ipaddress import ip_network
from pathlib import Path

import pytest

from shared.settings import InvalidSetting, Settings, SettingsError, UnknownSetting, load
from tests.builders.server import environment, run_foldlog

KEYS = ("first-key-of-the-tests", "second-key-of-the-tests", "third-key-of-the-tests")
GOOD: dict[str, tuple[str, str, object]] = {
    "data directory": ("DATA_DIR", "/srv/foldlog", Path("/srv/foldlog")),
    "listen": ("LISTEN", "0.0.0.0:9000", ("0.0.0.0", 9000)),  # noqa: S104
    "listen on IPv6": ("LISTEN", "[::1]:9000", ("::1", 9000)),
    "listen on a name": ("LISTEN", " localhost:80 ", ("localhost", 80)),
    "workers": ("WORKERS", "4", 4),
    "sites": ("SITES", "example.com, WWW.Example.com shop.example", ("example.com", "www.example.com", "shop.example")),
    "sites as full names and addresses": ("SITES", "example.com. [2001:DB8::7]", ("example.com", "[2001:db8::7]")),
    "excluded networks": (
        "EXCLUDE_NETWORKS",
        "192.0.2.7 2001:db8:7::/48",
        (ip_network("192.0.2.7/32"), ip_network("2001:db8:7::/48")),
    ),
    "referrer spam": ("REFERRER_SPAM_FILE", "/etc/foldlog/spam.txt", Path("/etc/foldlog/spam.txt")),
    "no sites": ("SITES", " ", ()),
    "other paths of events": ("COLLECT_PATHS", "/api/analytics, /notes_7", ("/api/analytics", "/notes_7")),
    "other path of the script": ("SCRIPT_PATH", " /assets/app-1.2.js ", "/assets/app-1.2.js"),
    "no other path of the script": ("SCRIPT_PATH", "", ""),
    "demo": ("DEMO", "true", True),
    "consent": ("CONSENT", "implied", "implied"),
    "consent cookie": ("CONSENT_COOKIE", "cc=a=b", ("cc", "a=b")),
    "flag 0": ("HONOR_GPC", "0", False),
    "flag FALSE": ("HONOR_GPC", "FALSE", False),
    "flag off": ("HONOR_DNT", "off", False),
    "flag yes": ("HONOR_DNT", "yes", True),
    "trusted proxies": ("TRUSTED_PROXIES", "127.0.0.1, fd00::/8", (ip_network("127.0.0.1/32"), ip_network("fd00::/8"))),
    "ingest keys": ("INGEST_KEYS", f"{KEYS[0]},{KEYS[1]} {KEYS[2]}", KEYS),
    "admin token": ("ADMIN_TOKEN", f" {20 * 's'} ", 20 * "s"),
    "bytes": ("MAX_BODY_BYTES", "2048", 2048),
    "KiB": ("MAX_BODY_BYTES", "64KiB", 64 << 10),
    "MiB with a blank": ("SEGMENT_MAX_BYTES", "64 MiB", 64 << 20),
    "GiB in lower case": ("SEGMENT_MAX_BYTES", "1gib", 1 << 30),
    "reserve switched off": ("DISK_RESERVE", "0", 0),
    "seconds": ("FOLD_INTERVAL", "60", 60.0),
    "seconds with a unit": ("FOLD_INTERVAL", "90s", 90.0),
    "minutes": ("FOLD_INTERVAL", "5m", 300.0),
    "hours": ("FOLD_INTERVAL", "1.5h", 5400.0),
    "a day": ("SEGMENT_MAX_AGE", "1d", 86400.0),
    "durability": ("DURABILITY", "os", "os"),
    "retention": ("LOG_RETENTION_DAYS", "0", 0),
    "limit": ("LOG_MAX_BYTES", "20 GiB", 20 << 30),
    "smallest limit": ("ARCHIVE_MAX_BYTES", "1 MiB", 1 << 20),
    "no limit": ("COUNTERS_MAX_BYTES", "0", 0),
    "time zone": ("TIMEZONE", " Europe/Berlin ", "Europe/Berlin"),
    "values": ("MAX_VALUES", "10", 10),
    "store": ("STORE", "file", "file"),
    "rate store": ("RATE_STORE", " redis://cache.example:6379/0 ", "redis://cache.example:6379/0"),
}


@pytest.mark.parametrize(("name", "text", "expected"), GOOD.values(), ids=GOOD)
def test_value_is_parsed(name: str, text: str, expected: object) -> None:
    assert getattr(load({f"FOLDLOG_{name}": text}), name.lower()) == expected


INSTANCE = uuid.UUID("6f1c6c7e-6f2b-4f0e-9d3a-0a3c5f9f6b11")


def test_hosts_without_a_disk_need_a_postgresql_store() -> None:
    environ = {"FOLDLOG_DURABILITY": "store", "FOLDLOG_INSTANCE": f" {INSTANCE} "}
    found = load(environ | {"FOLDLOG_STORE": "postgresql://db/x"})
    assert (found.durability, found.instance) == ("store", INSTANCE)
    assert load(environ | {"DATABASE_URL": "postgres://db/x"}).instance == INSTANCE
    with pytest.raises(InvalidSetting, match="postgresql://"):
        load(environ | {"FOLDLOG_STORE": "sqlite:///a.db"})
    assert load({"FOLDLOG_INSTANCE": ""}).instance is None


# A setting, a value that it does not accept, and a word of what it accepts.
BAD = {
    "listen without a port": ("LISTEN", "127.0.0.1", "host:port"),
    "listen without a host": ("LISTEN", ":8080", "host:port"),
    "listen on port 0": ("LISTEN", "127.0.0.1:0", "host:port"),
    "listen on port 65536": ("LISTEN", "127.0.0.1:65536", "host:port"),
    "listen on a word": ("LISTEN", "127.0.0.1:http", "host:port"),
    "workers a word": ("WORKERS", "many", "whole number"),
    "workers 0": ("WORKERS", "0", "1 to 64"),
    "workers 65": ("WORKERS", "65", "1 to 64"),
    "workers negative": ("WORKERS", "-1", "whole number"),
    "an excluded network with host bits": ("EXCLUDE_NETWORKS", "192.0.2.7/24", "networks"),
    "path without a slash": ("COLLECT_PATHS", "notes", "a path"),
    "path with a slash at the end": ("COLLECT_PATHS", "/notes/", "a path"),
    "path of the root": ("SCRIPT_PATH", "/", "a path"),
    "path with dots": ("SCRIPT_PATH", "/a/../b", "a path"),
    "path with a query": ("SCRIPT_PATH", "/a?b", "a path"),
    "path with an escape": ("SCRIPT_PATH", "/a%2fb", "a path"),
    "path of Foldlog's own": ("COLLECT_PATHS", "/notes /admin/api/fold", "none of Foldlog's own"),
    "sites a URL": ("SITES", "https://example.com", "host names"),
    "sites with a port": ("SITES", "example.com:8080", "host names"),
    "sites with a wildcard": ("SITES", "*.example.com", "host names"),
    "sites with a path": ("SITES", "example.com/a", "host names"),
    "sites with an umlaut": ("SITES", "bücher.example", "host names"),
    "consent a flag": ("CONSENT", "true", "required or implied"),
    "consent cookie without a value": ("CONSENT_COOKIE", "analytics_consent", "name=value"),
    "consent cookie with an empty value": ("CONSENT_COOKIE", "analytics_consent=", "name=value"),
    "consent cookie without a name": ("CONSENT_COOKIE", "=granted", "name=value"),
    "rate store of another kind": ("RATE_STORE", "memcached://h", "local, postgres, or the address of a Redis"),
    "flag 2": ("HONOR_GPC", "2", "true or false"),
    "flag empty": ("HONOR_DNT", "", "true or false"),
    "proxies a name": ("TRUSTED_PROXIES", "proxy.example", "addresses or networks"),
    "proxies with host bits": ("TRUSTED_PROXIES", "10.0.0.1/8", "addresses or networks"),
    "size a word": ("MAX_BODY_BYTES", "large", "a size"),
    "size in MB": ("MAX_BODY_BYTES", "1MB", "a size"),
    "size a fraction": ("MAX_BODY_BYTES", "1.5MiB", "a size"),
    "size negative": ("DISK_RESERVE", "-1", "a size"),
    "size too small": ("MAX_BODY_BYTES", "1", "1024 to"),
    "size too large": ("MAX_BODY_BYTES", "1 GiB", "1024 to"),
    "duration a word": ("FOLD_INTERVAL", "often", "a duration"),
    "duration in weeks": ("FOLD_INTERVAL", "1w", "a duration"),
    "duration 0": ("FOLD_INTERVAL", "0", "1 to 86400"),
    "duration too long": ("FOLD_INTERVAL", "2d", "1 to 86400"),
    "durability a flag": ("DURABILITY", "none", "fsync or os or store"),
    "retention a duration": ("LOG_RETENTION_DAYS", "30d", "whole number"),
    "archive retention too short": ("ARCHIVE_RETENTION_DAYS", "6", "7 to 36500"),
    "limit without its unit": ("LOG_MAX_BYTES", "20", "0 for no limit, or a size of at least 1 MiB"),
    "limit a word": ("ARCHIVE_MAX_BYTES", "20 GB", "0 for no limit, or a size of at least 1 MiB"),
    "limit below 0": ("COUNTERS_MAX_BYTES", "-1", "0 for no limit"),
    "retention beyond all dates": ("COUNTERS_RETENTION_DAYS", "1000000", "0 to 36500"),
    "time zone unknown": ("TIMEZONE", "Berlin", "a zone"),
    "time zone a path": ("TIMEZONE", "../../etc/passwd", "a zone"),
    "time zone empty": ("TIMEZONE", "", "a zone"),
    "values too few": ("MAX_VALUES", "1", "10 to"),
    "durability store without one": ("DURABILITY", "store", "a PostgreSQL store: set FOLDLOG_STORE"),
    "instance no id": ("INSTANCE", "web-1", "the id of an instance"),
    "instance without a store": ("INSTANCE", str(INSTANCE), "a PostgreSQL store: set FOLDLOG_STORE"),
    "store unknown": ("STORE", "mongodb://x", "file"),
}


@pytest.mark.parametrize(("name", "text", "takes"), BAD.values(), ids=BAD)
def test_invalid_value_is_reported_with_its_setting_and_the_accepted_values(name: str, text: str, takes: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        load({f"FOLDLOG_{name}": text})
    assert caught.value.setting == f"FOLDLOG_{name}"
    assert takes in caught.value.accepted
    assert str(caught.value).startswith(f"FOLDLOG_{name} takes ")


def test_every_setting_may_be_in_environment_and_file(tmp_path: Path) -> None:
    assert load({}) == Settings()
    for field in dataclasses.fields(Settings):
        default = getattr(Settings(), field.name)
        if not isinstance(default, (int, float)):
            continue
        text = str(default).lower()
        assert getattr(load({f"FOLDLOG_{field.name.upper()}": text}), field.name) == default
        assert getattr(load({}, write(tmp_path, f"{field.name} = {text}")), field.name) == default


def test_defaults_are_those_of_the_design() -> None:
    found = Settings()
    assert (found.listen, found.workers, found.consent, found.durability) == (
        ("127.0.0.1", 8080),
        1,
        "required",
        "fsync",
    )
    assert (found.segment_max_bytes, found.segment_max_age, found.fold_interval) == (64 << 20, 60, 60)
    assert (found.log_retention_days, found.archive_retention_days, found.disk_reserve) == (30, 760, 512 << 20)
    assert (found.timezone, found.max_values, found.store) == ("UTC", 10_000, "file")
    assert found.consent_cookie == ("analytics_consent", "granted")


def test_settings_cannot_be_changed_once_read() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().workers = 2  # type: ignore[misc]


def test_unknown_setting_is_rejected() -> None:
    with pytest.raises(UnknownSetting) as caught:
        load({"FOLDLOG_WORKER": "2"})
    assert caught.value.setting == "FOLDLOG_WORKER"


def test_variables_without_the_prefix_are_ignored() -> None:
    assert load({"WORKERS": "9", "foldlog_workers": "9", "MY_FOLDLOG_WORKERS": "9"}) == Settings()


def write(directory: Path, content: str | bytes) -> Path:
    path = directory / "foldlog.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'workers = 2\nsites = ["a.example", "b.example"]\nhonor_dnt = false\nfold_interval = "5m"\n')
    found = load({"FOLDLOG_WORKERS": "3"}, path)
    assert (found.workers, found.sites, found.honor_dnt, found.fold_interval) == (
        3,
        ("a.example", "b.example"),
        False,
        300,
    )


def test_path_of_the_file_may_be_in_the_environment(tmp_path: Path) -> None:
    assert load({"FOLDLOG_CONFIG": str(write(tmp_path, "workers = 2"))}).workers == 2


FILES: dict[str, tuple[str | bytes, str]] = {
    "a bad value": ("workers = 0", "workers in .*foldlog.toml takes 1 to 64"),
    "an unknown key": ("worker = 2", "worker in .*foldlog.toml is not a setting"),
    "a key in upper case": ("WORKERS = 2", "is not a setting"),
    "not TOML": ("workers: 2", "cannot read the settings file"),
    "not UTF-8": (b"timezone = '\xff'", "cannot read the settings file"),
    "a table": ("[foldlog]\nworkers = 2", "is not a setting"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_invalid_file_is_reported_with_its_path(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load({}, write(tmp_path, content))


def test_missing_file_is_reported_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml"):
        load({"FOLDLOG_CONFIG": str(tmp_path / "missing.toml")})


DASHBOARDS = {
    "loopback": ("127.0.0.1:8080", "http://127.0.0.1:8080/admin/"),
    "every address": ("0.0.0.0:80", "http://127.0.0.1:80/admin/"),
    "every IPv6 address": ("[::]:80", "http://[::1]:80/admin/"),
    "an IPv6 address": ("[fd00::1]:80", "http://[fd00::1]:80/admin/"),
    "a name": ("stats.example:80", "http://stats.example:80/admin/"),
}


@pytest.mark.parametrize(("listen", "expected"), DASHBOARDS.values(), ids=DASHBOARDS)
def test_dashboard_has_an_address_that_a_browser_can_open(listen: str, expected: str) -> None:
    assert load({"FOLDLOG_LISTEN": listen}).dashboard == expected


SECRET = "s3cr3t-of-the-operator"  # noqa: S105


def test_secret_is_not_shown_by_check_config(tmp_path: Path) -> None:
    done = run_foldlog(
        ["check-config"], environment(tmp_path / "data", admin_token=SECRET, ingest_keys=f"{SECRET}-key")
    )
    assert done.returncode == 0
    assert SECRET not in done.stdout + done.stderr


def test_secret_is_not_in_the_message_about_another_setting(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data", admin_token=SECRET, ingest_keys=f"{SECRET}-key", workers="many")
    done = run_foldlog(["check-config"], environ)
    assert done.returncode == 2
    assert "FOLDLOG_WORKERS takes a whole number" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["admin_token", "ingest_keys"])
def test_secret_of_a_misspelt_setting_is_not_in_the_message(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"FOLDLOG_{name.upper()}S": SECRET})
    assert SECRET not in str(caught.value)


SHORT: dict[str, tuple[str, str]] = {
    "a token of one letter": ("admin_token", "x"),
    "a token of 19": ("admin_token", 19 * "x"),
    "a token of 19 and blanks": ("admin_token", f"  {19 * 'x'}  "),
    "a key": ("ingest_keys", 19 * "x"),
    "a key beside a long one": ("ingest_keys", f"{20 * 'x'}, {19 * 'y'}"),
}


@pytest.mark.parametrize(("name", "text"), SHORT.values(), ids=SHORT)
def test_secret_that_can_be_guessed_is_refused_and_not_shown(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"FOLDLOG_{name.upper()}": text})
    assert f"FOLDLOG_{name.upper()} takes" in str(caught.value)
    assert "at least 20 characters" in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_no_secret_at_all_is_accepted() -> None:
    found = load({"FOLDLOG_ADMIN_TOKEN": " ", "FOLDLOG_INGEST_KEYS": ""})
    assert (found.admin_token, found.ingest_keys) == ("", ())


def test_secret_is_not_in_the_representation() -> None:
    assert SECRET not in repr(Settings(admin_token=SECRET, ingest_keys=(SECRET,)))
