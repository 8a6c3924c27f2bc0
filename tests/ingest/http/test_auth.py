"""Keys and tokens: which secret has which scope, and that tokens.json holds no
secret.
"""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from multidict import CIMultiDict

from ingest.http.auth import Keyring
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.tokens import FILE_MAX_BYTES, Scope, TokensFile, create_token, load_tokens, read_tokens, revoke_token
from tests.builders.silent_log import SilentLog

ADMIN = "admin-secret"
KEYS = ("first-key", "second-key")
SETTINGS = Settings(admin_token=ADMIN, ingest_keys=KEYS)


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    directory = DataDirectory(tmp_path / "data")
    make_data_directory(directory)
    return directory


def given(*authorizations: str) -> CIMultiDict[str]:
    return CIMultiDict([("Authorization", authorization) for authorization in authorizations])


def bearer(secret: str) -> CIMultiDict[str]:
    return given(f"Bearer {secret}")


def basic(userinfo: str | bytes) -> CIMultiDict[str]:
    content = userinfo.encode("utf-8") if isinstance(userinfo, str) else userinfo
    return given(f"Basic {base64.b64encode(content).decode('ascii')}")


VALID: dict[str, tuple[CIMultiDict[str], Scope]] = {
    "admin token": (bearer(ADMIN), "admin"),
    "first key": (bearer("first-key"), "ingest"),
    "second key": (bearer("second-key"), "ingest"),
    "scheme in another case": (given(f"bEaReR {ADMIN}"), "admin"),
    "blanks around": (given(f"Bearer   {ADMIN} "), "admin"),
    "Basic password": (basic(f"user:{ADMIN}"), "admin"),
    "Basic password without a user": (basic(f":{ADMIN}"), "admin"),
    "Basic with a key": (basic("x:first-key"), "ingest"),
}


@pytest.mark.parametrize(("headers", "scope"), VALID.values(), ids=VALID)
def test_valid_secret_has_its_scope(data: DataDirectory, headers: CIMultiDict[str], scope: Scope) -> None:
    assert Keyring(data, SETTINGS, SilentLog()).scopes(headers) == frozenset([scope])


INVALID: dict[str, CIMultiDict[str]] = {
    "another secret": bearer("wrong"),
    "empty": bearer(""),
    "only the scheme": given("Bearer"),
    "empty header": given(""),
    "the secret without a scheme": given(ADMIN),
    "an unknown scheme": given(f"Digest {ADMIN}"),
    "the beginning of a secret": bearer(ADMIN[:-1]),
    "a secret and more": bearer(ADMIN + "x"),
    "a secret in upper case": bearer(ADMIN.upper()),
    "two keys as in the settings": bearer(" ".join(KEYS)),
    "a megabyte": bearer("x" * (1 << 20)),
    "not ASCII": bearer("ключ"),
    "bytes that are not UTF-8": bearer("\udcff\udc80"),
    "Basic with the token as user": basic(f"{ADMIN}:"),
    "Basic without a colon": basic(ADMIN),
    "Basic that is not base64": given("Basic !!!"),
    "Basic with an impossible length": given("Basic YQ"),
    "Basic that is not UTF-8": basic(b"x:\xff\xfe"),
    "Basic without content": given("Basic "),
}


@pytest.mark.parametrize("headers", INVALID.values(), ids=INVALID)
def test_any_other_secret_is_invalid(data: DataDirectory, headers: CIMultiDict[str]) -> None:
    assert Keyring(data, SETTINGS, SilentLog()).scopes(headers) == frozenset()


def test_two_authorization_headers_are_invalid_even_if_each_is_valid(data: DataDirectory) -> None:
    """A proxy in front may have checked the other one."""
    assert Keyring(data, SETTINGS, SilentLog()).scopes(given(f"Bearer {ADMIN}", f"Bearer {ADMIN}")) == frozenset()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"], ids=["empty", "cut", "another type", "bytes"])
def test_damaged_tokens_file_costs_what_is_in_it_and_is_logged_once(data: DataDirectory, content: bytes) -> None:
    _, secret = create_token(data, "admin")
    log = SilentLog()
    keyring = Keyring(data, SETTINGS, log)
    assert keyring.scopes(bearer(secret))
    whole = data.tokens.read_bytes()
    data.tokens.write_bytes(content)
    for _ in range(2):
        assert keyring.scopes(bearer(secret)) == frozenset()
        assert keyring.scopes(bearer(ADMIN)) == frozenset(["admin"])
        assert keyring.scopes(bearer("first-key")) == frozenset(["ingest"])
    assert log.events() == ["tokens_damaged"]
    data.tokens.write_bytes(whole)
    assert keyring.scopes(bearer(secret)) == frozenset(["admin"])
    assert log.events() == ["tokens_damaged", "tokens_readable"]


def test_damaged_file_is_not_read_for_every_request(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be large, and every client may send a token."""
    data.tokens.write_bytes(b"{" * FILE_MAX_BYTES)
    reads: list[TokensFile] = []

    def read(data: DataDirectory) -> TokensFile:
        reads.append(read_tokens(data))
        return reads[-1]

    monkeypatch.setattr("ingest.http.auth.read_tokens", read)
    keyring = Keyring(data, SETTINGS, SilentLog())
    for _ in range(100):
        assert keyring.scopes(bearer("x")) == frozenset()
    assert len(reads) < 10


@pytest.mark.parametrize("text", ["é", "\udcff"])
def test_basic_that_is_not_ascii_is_invalid(data: DataDirectory, text: str) -> None:
    assert Keyring(data, SETTINGS, SilentLog()).scopes(given(f"Basic {text}")) == frozenset()


def test_absent_authorization_is_not_an_invalid_key(data: DataDirectory) -> None:
    assert Keyring(data, SETTINGS, SilentLog()).scopes(given()) is None


def test_without_secrets_in_the_settings_nothing_is_valid(data: DataDirectory) -> None:
    keyring = Keyring(data, Settings(), SilentLog())
    assert [keyring.scopes(headers) for headers in (bearer(""), basic(":"), bearer("x"))] == [frozenset()] * 3


@pytest.mark.parametrize("scope", ["ingest", "read", "admin"])
def test_token_is_valid_at_once_and_until_it_is_revoked(data: DataDirectory, scope: Scope) -> None:
    keyring = Keyring(data, SETTINGS, SilentLog())
    token, secret = create_token(data, scope)
    assert keyring.scopes(bearer(secret)) == frozenset([scope])
    assert Keyring(data, SETTINGS, SilentLog()).scopes(bearer(secret)) == frozenset([scope])
    assert revoke_token(data, token.id)
    assert keyring.scopes(bearer(secret)) == frozenset()
    assert keyring.scopes(bearer(ADMIN)) == frozenset(["admin"])


def test_revoking_a_token_keeps_the_others(data: DataDirectory) -> None:
    keyring = Keyring(data, SETTINGS, SilentLog())
    (first, first_secret), (_, second_secret) = create_token(data, "read"), create_token(data, "admin")
    assert revoke_token(data, first.id)
    assert keyring.scopes(bearer(first_secret)) == frozenset()
    assert keyring.scopes(bearer(second_secret)) == frozenset(["admin"])


def test_revoking_an_unknown_token_returns_false(data: DataDirectory) -> None:
    create_token(data, "read")
    assert not revoke_token(data, "00000000")
    assert len(load_tokens(data)) == 1


def test_tokens_are_unique(data: DataDirectory) -> None:
    made = [create_token(data, "read") for _ in range(20)]
    assert len({secret for _, secret in made}) == len({token.id for token, _ in made}) == 20
    assert [token for token, _ in made] == list(load_tokens(data))


def test_deleted_tokens_file_grants_nothing(data: DataDirectory) -> None:
    keyring = Keyring(data, SETTINGS, SilentLog())
    _, secret = create_token(data, "admin")
    assert keyring.scopes(bearer(secret)) == frozenset(["admin"])
    data.tokens.unlink()
    assert keyring.scopes(bearer(secret)) == frozenset()


def test_tokens_file_has_hashes_only_and_is_readable_by_its_owner_only(data: DataDirectory) -> None:
    token, secret = create_token(data, "admin")
    content = data.tokens.read_text("utf-8")
    assert secret not in content
    assert secret.removeprefix("fl_admin_") not in content
    assert token.sha256 in content
    assert stat.S_IMODE(data.tokens.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.private.stat().st_mode) == 0o700


def test_hash_of_a_token_is_not_a_token(data: DataDirectory) -> None:
    token, _ = create_token(data, "admin")
    assert Keyring(data, SETTINGS, SilentLog()).scopes(bearer(token.sha256)) == frozenset()


def test_secret_begins_with_its_scope(data: DataDirectory) -> None:
    assert create_token(data, "ingest")[1].startswith("fl_ingest_")
