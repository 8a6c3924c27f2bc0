"""FOLDLOG_STORE and DATABASE_URL: which store is meant, and no password in a word about
it.
"""

from __future__ import annotations

import pytest

from shared.settings import InvalidSetting, load
from shared.stores.address import shown_address

URL = "postgresql://someone:secret@db.internal:5432/analytics?sslmode=require"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "file"),
        ({"DATABASE_URL": URL}, URL),
        ({"DATABASE_URL": URL.replace("postgresql", "postgres")}, URL.replace("postgresql", "postgres")),
        ({"DATABASE_URL": URL, "FOLDLOG_STORE": "file"}, "file"),
        ({"DATABASE_URL": URL, "FOLDLOG_STORE": "postgres"}, URL),
        ({"DATABASE_URL": "mysql://db/analytics", "FOLDLOG_STORE": URL}, URL),
        ({"DATABASE_URL": "mysql://db/analytics"}, "file"),
        ({"DATABASE_URL": URL, "FOLDLOG_STORE": "sqlite:///a.db"}, "sqlite:///a.db"),
    ],
)
def test_which_store_is_meant(environ: dict[str, str], expected: str) -> None:
    assert load(environ).store == expected


@pytest.mark.parametrize(
    "environ",
    [
        {"FOLDLOG_STORE": "postgres"},
        {"FOLDLOG_STORE": "postgres", "DATABASE_URL": "mysql://someone:secret@db/analytics"},
        {"FOLDLOG_STORE": "postgresql://"},
        {"FOLDLOG_STORE": "sqlite:///"},
        {"FOLDLOG_STORE": "mysql://someone:secret@db/analytics"},
    ],
)
def test_what_is_no_store_is_refused_without_its_password(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting) as caught:
        load(environ)
    assert "FOLDLOG_STORE takes " in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_is_shown_nowhere() -> None:
    assert shown_address(URL) == "postgresql://someone:…@db.internal:5432/analytics"
    assert "secret" not in repr(load({"FOLDLOG_STORE": URL}))
    assert shown_address("sqlite:///a.db") == "sqlite:///a.db"
