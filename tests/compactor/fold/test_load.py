"""What the fold derives from a line, and that values from outside stay values."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactor.fold.working_tables import create_working_tables
from shared.duckdb_engine import connect, one_row
from shared.generations.load import load_snapshot
from shared.host_names import host_of
from shared.sql.archive_events import from_archive_sql
from shared.sql.texts import TextNumbers
from tests.builders.archive import assert_verified
from tests.builders.logs import GOOGLEBOT, data_directory, fold, line, sealed
from tests.builders.netlocs import NETLOCS, ODD_NETLOCS

DERIVED: dict[str, tuple[dict[str, Any], str, object]] = {
    "path": ({"url": "https://example.com/a/b?c=d#e"}, "path", "/a/b"),
    "path of a bare host": ({"url": "https://example.com"}, "path", "/"),
    "path of a bare query": ({"url": "https://example.com?x=1"}, "path", "/"),
    "path that holds a url": ({"url": "https://example.com/go/http://a.org/x"}, "path", "/go/http://a.org/x"),
    "no url": ({}, "path", None),
    "referrer host": ({"referrer": "https://user@Www.Google.COM:443/search?q=1"}, "referrer", "www.google.com"),
    "referrer whose host has no lower case in DNS": (
        {"referrer": "https://\u0130nstaGRAM.com/a"},
        "referrer",
        "\u0130nstagram.com",
    ),
    "referrer with the Kelvin sign": ({"referrer": "https://\u212aYOTO.example/"}, "referrer", "\u212ayoto.example"),
    "referrer that is no own site by another letter": (
        {"referrer": "https://EXAMPLE.c\u00d6m/"},
        "referrer",
        "example.c\u00d6m",
    ),
    "referrer on an IPv6 address": ({"referrer": "http://[2001:db8::7]:8080/x"}, "referrer", "[2001:db8::7]"),
    "own site on an IPv6 address": (
        {"site": "[2001:db8::7]", "referrer": "http://[2001:db8::7]:8080/x"},
        "referrer",
        None,
    ),
    "own site as a full name": ({"referrer": "https://example.com./b"}, "referrer", None),
    "own site as a full name with www and port": ({"referrer": "https://www.example.com.:8443?b"}, "referrer", None),
    "other site as a full name": ({"referrer": "https://news.example.org./b"}, "referrer", "news.example.org"),
    "own site": ({"referrer": "https://example.com/x"}, "referrer", None),
    "own site with www": ({"referrer": "https://www.example.com/x"}, "referrer", None),
    "utm decoded": (
        {"url": "https://example.com/?a=1&utm_campaign=Black%20Friday+now"},
        "utm_campaign",
        "Black Friday now",
    ),
    "utm that is not UTF-8": ({"url": "https://example.com/?utm_source=%ff"}, "utm_source", "%ff"),
    "utm cut short": ({"url": "https://example.com/?utm_source=a%e2%82"}, "utm_source", "a%e2%82"),
    "utm with a lone percent sign": ({"url": "https://example.com/?utm_source=100%"}, "utm_source", "100%"),
    "utm in a path": ({"url": "https://example.com/a&utm_source=x"}, "utm_source", None),
    "utm in the fragment": ({"url": "https://example.com/#utm_source=x"}, "utm_source", None),
    "utm in upper case": ({"url": "https://example.com/?UTM_Source=x"}, "utm_source", "x"),
    "utm after &amp;": ({"url": "https://example.com/?a=1&amp;utm_source=x"}, "utm_source", "x"),
    "utm after &amp; that became a part of a name": (
        {"url": "https://example.com/?amp;utm_source=x&amp;utm_medium=y"},
        "utm_source",
        "x",
    ),
    "utm before &amp;": ({"url": "https://example.com/?utm_source=x&amp;utm_medium=y"}, "utm_source", "x"),
    "utm after an encoded &amp;": ({"url": "https://example.com/?a=1&amp%3Butm_source=x"}, "utm_source", "x"),
    "utm between semicolons": ({"url": "https://example.com/?a=1;utm_source=x;utm_medium=y"}, "utm_source", "x"),
    "utm with a semicolon": ({"url": "https://example.com/?utm_source=x;y"}, "utm_source", "x;y"),
    "utm, first empty": ({"url": "https://example.com/?utm_source=&utm_source=b"}, "utm_source", "b"),
    "utm twice": ({"url": "https://example.com/?utm_source=a&utm_source=b"}, "utm_source", "a"),
    "utm without an equals sign": ({"url": "https://example.com/?utm_source&utm_source=b"}, "utm_source", "b"),
    "a parameter that ends like utm": ({"url": "https://example.com/?xutm_source=b"}, "utm_source", None),
    "empty utm": ({"url": "https://example.com/?utm_source=&utm_medium=mail"}, "utm_source", None),
    "browser": ({}, "browser", "Firefox"),
    "system": ({}, "os", "Linux"),
    "device": ({}, "device", "desktop"),
    "bot": ({"ua": GOOGLEBOT}, "bot", True),
    "no user agent is no bot": ({"ua": None}, "bot", False),
    "screen of a property": ({"props": {"plan": "pro", "screen": "1920x1080"}}, "screen", "1920x1080"),
    "screen with signs and letters of others": ({"props": {"screen": "groß 16:9"}}, "screen", "groß 16:9"),
    "screen as a number": ({"props": {"screen": 1920}}, "screen", "1920"),
    "screen of a line": ({"screen": "wide", "props": {"screen": "narrow"}}, "screen", "wide"),
    "no screen": ({"props": {"plan": "screen"}}, "screen", None),
    "empty screen": ({"props": {"screen": ""}}, "screen", None),
    "screen that is null": ({"props": {"screen": None}}, "screen", None),
    "screen as the name of another": ({"props": {'a"screen"': "wide"}}, "screen", None),
    "screen that is too long": ({"props": {"screen": "x" * 33}}, "screen", None),
    "screen on two lines": ({"props": {"screen": "wide\n"}}, "screen", None),
    "screen that is an address": ({"props": {"screen": "ann@example.com"}}, "screen", None),
}


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part with an event for each row, in its order."""
    data = data_directory(tmp_path_factory.mktemp("derived"))
    sealed(data, [line(f"event-{number:03d}", **fields) for number, (fields, _, _) in enumerate(DERIVED.values())])
    fold(data)
    return next(data.archive.glob("*/*.parquet"))


@pytest.mark.parametrize("row", DERIVED)
def test_column_is_derived_from_the_line(derived: Path, row: str) -> None:
    _, column, expected = DERIVED[row]
    id_ = f"event-{[*DERIVED].index(row):03d}"
    with connect(128 << 20, 1) as database:
        query = f"SELECT {column} FROM {from_archive_sql('read_parquet($1)')} WHERE id = $2"
        assert database.execute(query, [[str(derived)], id_]).fetchall() == [(expected,)]


OWN = ["https://shop.example.com/cart", "https://www.shop.example.com./", "https://other.example/", "http://[::1]:80/"]


def test_referrer_on_another_site_of_the_operator_is_not_counted(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{number}", referrer=referrer) for number, referrer in enumerate(OWN)])
    fold(data, sites=("example.com", "shop.example.com", "www.other.example", "[::1]"))
    path = next(data.archive.glob("*/*.parquet"))
    with connect(128 << 20, 1) as database:
        query = "SELECT referrer FROM read_parquet($1) WHERE referrer IS NOT NULL"
        assert database.execute(query, [[str(path)]]).fetchall() == []


def test_fold_takes_hosts_as_the_door_does() -> None:
    with connect(128 << 20, 1) as database:
        create_working_tables(database, TextNumbers())
        for netloc, host in (NETLOCS | ODD_NETLOCS).items():
            assert one_row(database, "SELECT host_name($1)", [netloc]) == (host,)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/:@?#[]"), max_size=8))
def test_fold_takes_any_host_as_the_door_does(netloc: str) -> None:
    assert one_row(_macros(), "SELECT host_name($1)", [netloc]) == (host_of(netloc),)


@cache
def _macros() -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    create_working_tables(database, TextNumbers())
    return database


def test_hostile_values_are_only_values(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    hostile = "x'; DROP TABLE incoming; --"
    props = {"__proto__": "1", "crc": "00000000", "\u202e": "\u009b\x7f", "nul": "a\x00b"}
    sealed(data, [line("event-1", name=hostile, visitor=hostile, props=props, url=f"https://example.com/{hostile}")])
    fold(data)
    assert load_snapshot(data).totals.counted == 1
    assert_verified(data)
