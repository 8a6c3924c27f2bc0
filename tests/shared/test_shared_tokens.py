"""Tokens of all hosts of a PostgreSQL store: made and revoked on any of them, valid on
all, from a copy that outlives a store that is down.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from multidict import CIMultiDict

from ingest.http.auth import Keyring
from ingest.sharing.tokens import SharedTokens
from ingest.sharing.turns import Turns
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.shared_tokens import (
    create_shared_token,
    fetch_shared_tokens,
    load_shared_tokens,
    revoke_shared_token,
)
from shared.stores.ledger import StoreUnavailable
from shared.tokens import digest
from tests.builders.postgres import Server as Postgres
from tests.builders.server import Server, bearer, environment, run_foldlog
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import until

pytestmark = pytest.mark.component

Made = Callable[[str], DataDirectory]


@pytest.fixture
def address(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def host(tmp_path: Path) -> Made:
    def make(name: str) -> DataDirectory:
        data = DataDirectory(tmp_path / name)
        make_data_directory(data)
        return data

    return make


def scopes(data: DataDirectory, store: str, secret: str) -> set[str]:
    headers = CIMultiDict({"Authorization": f"Bearer {secret}"})
    return set(Keyring(data, Settings(store=store), SilentLog()).scopes(headers) or ())


def test_token_of_one_host_is_valid_on_all(host: Made, address: str) -> None:
    one, other = host("one"), host("other")
    _, secret = create_shared_token(one, address, "read")
    assert scopes(one, address, secret) == {"read"}, "at once where it was made"
    fetch_shared_tokens(other, address)
    assert scopes(other, address, secret) == {"read"}


def test_token_that_any_host_revoked_is_valid_on_none(host: Made, address: str) -> None:
    one, other = host("one"), host("other")
    token, secret = create_shared_token(one, address, "admin")
    assert revoke_shared_token(other, address, token.id)
    assert not revoke_shared_token(other, address, token.id)
    fetch_shared_tokens(one, address)
    for data in (one, other):
        assert scopes(data, address, secret) == set()


def test_running_keyring_sees_what_is_fetched(host: Made, address: str) -> None:
    one, other = host("one"), host("other")
    keyring = Keyring(other, Settings(store=address), SilentLog())
    token, secret = create_shared_token(one, address, "ingest")
    headers = CIMultiDict({"Authorization": f"Bearer {secret}"})
    copy = Turns(SharedTokens(other, address), SilentLog())
    copy.turn()
    assert set(keyring.scopes(headers) or ()) == {"ingest"}
    revoke_shared_token(one, address, token.id)
    copy.turn()
    assert set(keyring.scopes(headers) or ()) == set()


def test_last_copy_counts_while_the_store_is_down(host: Made, postgres: Postgres, address: str) -> None:
    one, log = host("one"), SilentLog()
    _, secret = create_shared_token(one, address, "read")
    copy = Turns(SharedTokens(one, address), log)
    postgres.stop()
    try:
        copy.turn()
        copy.turn()
        assert scopes(one, address, secret) == {"read"}
        with pytest.raises(StoreUnavailable):
            create_shared_token(one, address, "read")
    finally:
        postgres.start()
    copy.turn()
    assert log.events() == ["store_tokens_failed", "store_tokens_shared"]
    assert len(load_shared_tokens(one, address)) == 1


def test_copy_of_another_store_is_not_valid(host: Made, address: str, postgres: Postgres) -> None:
    one = host("one")
    _, secret = create_shared_token(one, address, "admin")
    for store in ("file", postgres.database()):
        assert scopes(one, store, secret) == set()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"store":1}', b"\xff"])
def test_damaged_copy_grants_nothing_until_it_is_fetched_again(host: Made, address: str, content: bytes) -> None:
    one = host("one")
    _, secret = create_shared_token(one, address, "admin")
    one.store_tokens.write_bytes(content)
    assert scopes(one, address, secret) == set()
    fetch_shared_tokens(one, address)
    assert scopes(one, address, secret) == {"admin"}


def test_secret_is_neither_in_the_copy_nor_in_the_store(host: Made, address: str) -> None:
    one = host("one")
    _, secret = create_shared_token(one, address, "admin")
    assert secret not in one.store_tokens.read_text("utf-8")
    assert stat.S_IMODE(one.store_tokens.stat().st_mode) == 0o600
    with psycopg.connect(address) as connection:
        assert secret not in str(connection.execute("SELECT * FROM analytics_tokens").fetchall())


def test_key_of_a_pixel_is_one_of_all_hosts_until_any_revokes_it(host: Made, address: str) -> None:
    one, other = host("one"), host("other")
    token, key = create_shared_token(one, address, "pixel", "shop.example", "mail_open/may")
    fetch_shared_tokens(other, address)
    keyring = Keyring(other, Settings(store=address), SilentLog())
    assert keyring.has_pixel(digest(key)) and not keyring.has_pixel(digest(f"{key}x"))
    assert [(each.site, each.use) for each in load_shared_tokens(other, address)] == [("shop.example", "mail_open/may")]
    assert scopes(other, address, key) == set()
    assert revoke_shared_token(one, address, token.id)
    fetch_shared_tokens(other, address)
    assert not keyring.has_pixel(digest(key))


def test_sites_of_a_token_go_with_it_to_all_hosts(host: Made, address: str) -> None:
    one, other = host("one"), host("other")
    _, secret = create_shared_token(one, address, "read", sites=["shop.example", "blog.example"])
    fetch_shared_tokens(other, address)
    for data in (one, other):
        headers = CIMultiDict({"Authorization": f"Bearer {secret}"})
        access = Keyring(data, Settings(store=address), SilentLog()).access(headers)
        assert access is not None and access.sites == ("blog.example", "shop.example")


@pytest.mark.long
def test_command_on_one_host_makes_and_revokes_tokens_of_a_running_one(tmp_path: Path, address: str) -> None:
    elsewhere = environment(tmp_path / "elsewhere", store=address)
    with Server(tmp_path, store=address) as serving:
        made = run_foldlog(["token", "create", "--scope", "read"], elsewhere)
        assert made.returncode == 0, made.stderr
        secret, _, rest = made.stdout.partition("\n")

        def asked() -> int:
            return serving.request("GET", "/admin/api/status", headers=bearer(secret)).status

        until(lambda: asked() == 200)
        id_ = rest.split("id ")[1].split(",")[0]
        listed = run_foldlog(["token", "list"], environment(serving.data.root, store=address))
        assert id_ in listed.stdout and "all hosts" in listed.stdout
        assert run_foldlog(["token", "revoke", id_], elsewhere).returncode == 0
        until(lambda: asked() == 401)
        assert secret not in serving.stderr()
