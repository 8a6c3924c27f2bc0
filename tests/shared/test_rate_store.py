"""FOLDLOG_RATE_STORE: which addresses are understood, and that no message repeats what
is secret in one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.rate_store import kind_of, parse_rate_store, resolve, secrets_of, without_secrets
from shared.settings import InvalidSetting, load
from tests.builders.server import environment, run_foldlog

DATABASE = "postgresql://foldlog:s%65cret@db.example:5432/analytics?sslpassword=hidden"

# What is given, its kind, and how it is shown.
GOOD = {
    "this host": ("local", "local", "local"),
    "PostgreSQL": ("postgres", "postgres", "postgres"),
    "Redis": (" redis://cache.example:6379/0 ", "redis", "redis://cache.example:6379/0"),
    "Redis with a password": ("redis://:hidden@cache.example/1", "redis", "redis://cache.example/1"),
    "Redis with TLS": ("rediss://me:hidden@cache.example?ssl_cert_reqs=none", "redis", "rediss://cache.example"),
    "Redis on IPv6": ("redis://[::1]:6379", "redis", "redis://[::1]:6379"),
    "Redis on a socket": ("unix:///run/redis/redis.sock?db=1", "redis", "unix:///run/redis/redis.sock"),
}


@pytest.mark.parametrize(("text", "kind", "shown"), GOOD.values(), ids=GOOD)
def test_address_is_understood_and_shown_without_secrets(text: str, kind: str, shown: str) -> None:
    parsed = parse_rate_store(text)
    assert (parsed, kind_of(parsed), without_secrets(parsed)) == (text.strip(), kind, shown)


@pytest.mark.parametrize(
    "text",
    "|redis|redis://|redis:///0|redis://h:port|redis://h:0|redis://h:70000|redis://[::1|"
    f"unix://|unix:///|memcached://h|mysql://h/d|{DATABASE}|LOCAL".split("|"),
)
def test_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(
        InvalidSetting, match="FOLDLOG_RATE_STORE takes local, postgres, or the address of a Redis"
    ) as said:
        load({"FOLDLOG_RATE_STORE": text})
    assert said.value.given is None


@pytest.mark.parametrize("address", [DATABASE, DATABASE.replace("postgresql", "postgres")])
def test_postgres_is_the_one_of_the_database_url(address: str) -> None:
    settings = load({"FOLDLOG_RATE_STORE": "postgres", "DATABASE_URL": f" {address} "})
    assert settings.rate_store == address
    assert kind_of(address) == "postgres"
    assert without_secrets(address).endswith("://db.example:5432/analytics")
    assert address not in repr(settings)


@pytest.mark.parametrize("environ", [{}, {"DATABASE_URL": "mysql://me:hidden@h/d"}, {"DATABASE_URL": ""}])
def test_postgres_needs_a_database_url(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting, match="DATABASE_URL is set to") as said:
        load({"FOLDLOG_RATE_STORE": "postgres"} | environ)
    assert "hidden" not in str(said.value)


def test_database_url_alone_shares_no_limit() -> None:
    assert load({"DATABASE_URL": DATABASE}).rate_store == "local"
    assert resolve("local", DATABASE) == "local"


def test_secrets_are_known_as_typed_and_as_meant() -> None:
    assert secrets_of(DATABASE) >= {DATABASE, "s%65cret", "secret", "hidden"}
    assert secrets_of("redis://h:6379/0") == {"redis://h:6379/0"}
    assert secrets_of("redis://[::1") == {"redis://[::1"}


@pytest.mark.parametrize(
    ("store", "package", "extra"),
    [("redis://:hidden@127.0.0.1:1", "redis", "redis"), ("postgres", "psycopg", "postgres")],
)
@pytest.mark.parametrize("command", [["check-config"], ["serve"], ["ingest"]], ids=lambda command: command[0])
@pytest.mark.long
def test_missing_package_is_named_with_what_to_type(
    tmp_path: Path, command: list[str], store: str, package: str, extra: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n", "utf-8")
    environ = environment(tmp_path / "data", rate_store=store) | {"DATABASE_URL": DATABASE, "PYTHONPATH": str(tmp_path)}
    done = run_foldlog(command, environ)
    assert done.returncode == 2
    assert f"needs the package {package}" in done.stderr and f"pip install 'foldlog[{extra}]'" in done.stderr
    assert "hidden" not in done.stdout + done.stderr
