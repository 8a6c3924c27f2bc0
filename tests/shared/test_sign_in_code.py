"""One-time codes: one works once, of one place, for a while."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.sign_in_code import LIFETIME_S, create_code, is_right, spend
from shared.timestamps import now_ms
from shared.tokens import digest, load_tokens


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path)


def test_code_becomes_one_admin_token_once(data: DataDirectory) -> None:
    code = create_code(data)
    secret = spend(data, code, now_ms())
    assert secret is not None
    assert [(token.scope, token.sha256) for token in load_tokens(data)] == [("admin", digest(secret).hex())]
    assert spend(data, code, now_ms()) is None
    assert len(load_tokens(data)) == 1


def test_of_many_at_once_one_gets_a_token(data: DataDirectory) -> None:
    code = create_code(data)
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: spend(data, code, now_ms()), range(8))]
    assert [secret is not None for secret in found].count(True) == 1
    assert len(load_tokens(data)) == 1


def test_code_expires(data: DataDirectory) -> None:
    code = create_code(data)
    end = now_ms() + LIFETIME_S * 1000
    assert is_right(data, code, end - 60_000)
    assert not is_right(data, code, end + 1)
    assert spend(data, code, end + 1) is None
    assert load_tokens(data) == ()


def test_newest_code_is_the_only_one(data: DataDirectory) -> None:
    before, after = create_code(data), create_code(data)
    assert (is_right(data, before, now_ms()), is_right(data, after, now_ms())) == (False, True)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"sha256":"","expires_ms":99999999999999}', None])
def test_file_that_is_damaged_or_missing_makes_no_code_right(data: DataDirectory, content: bytes | None) -> None:
    code = create_code(data)
    data.sign_in_code.unlink()
    if content is not None:
        data.sign_in_code.write_bytes(content)
    assert not any(is_right(data, text, now_ms()) for text in (code, "", "\udce4"))


def test_file_has_no_code_in_it_and_only_its_owner_reads_it(data: DataDirectory) -> None:
    code = create_code(data)
    assert code.encode() not in data.sign_in_code.read_bytes()
    assert stat.S_IMODE(data.sign_in_code.stat().st_mode) == 0o600
