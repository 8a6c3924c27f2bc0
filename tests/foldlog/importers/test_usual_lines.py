"""A usual line is the same, whether it is taken apart at its quotation marks or by the
regular expression of its format.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import duckdb
import pytest

from foldlog.importers.columns import parsed_sql
from foldlog.importers.formats import FORMATS
from foldlog.importers.usual_lines import USUAL
from shared.duckdb_engine import connect
from tests.builders.access_logs import combined

LINE = combined("198.51.100.7", "GET /a?x=1 HTTP/1.1", referrer="https://other.example/b")
USUALS = (
    LINE,
    f"{LINE}\r",
    f'{LINE} "203.0.113.5, 10.0.0.1"',
    f'{LINE} "-"\r',
    LINE.replace("- -", "- bob", 1),
    LINE.replace("- -", "- bób", 1),
    LINE.replace("/a?x=1", "/café?😀", 1),
    LINE.replace("/a?x=1", "http://example.com/a", 1),
    LINE.replace("/a?x=1", "/a#b[c]", 1),
    LINE.replace("GET", "a" * 20, 1),
    LINE.replace("22/Nov", "22[Nov", 1),
    combined("255.0.199.9", "GET / HTTP/1.1", referrer="", agent=""),
)
OTHERS = (
    "",
    "\r",
    "#Fields: x",
    f"{LINE}\r\r",
    f"{LINE} 345 600",
    f'{LINE}\t"-"',
    f'{LINE} "-" 0.003',
    LINE.replace("198.51.100.7", "198.51.100.256", 1),
    LINE.replace("198.51.100.7", "198.51.100.07", 1),
    LINE.replace("198.51.100.7", "2001:db8::1", 1),
    LINE.replace("198.51.100.7", "198.51.100.7 10.0.0.1", 1),
    LINE.replace("198.51.100.7", "- 198.51.100.7", 1),
    LINE.replace("- -", "x -", 1),
    LINE.replace("- -", "- bob smith", 1),
    LINE.replace("- -", "- bob[x]", 1),
    LINE.replace("- -", '- "bob"', 1),
    LINE.replace("- -", "- ", 1),
    LINE.replace("+0000", "+2400", 1),
    LINE.replace("+0000", "Z", 1),
    LINE.replace(" HTTP/1.1", "", 1),
    LINE.replace("GET ", "", 1),
    LINE.replace("GET", "a" * 21, 1),
    LINE.replace("/a?x=1", "/a b", 1),
    LINE.replace("/a?x=1", "/a\tb", 1),
    LINE.replace("/a?x=1", r"/a\"b", 1),
    LINE.replace("https://other", r"https://\x22other", 1),
    LINE.replace(" 200 ", " 20 ", 1),
    LINE.replace(" 200 ", "  200 ", 1),
)
_PIECES = (" ", '"', "\\", "[", "]", "-", "\t", "\r", " HTTP/1.1", '" "', "é", "\u2028", "1", "GET ", "+0000]", "\x0b")


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(connect(128 << 20, threads=1)) as opened:
        yield opened


def parsed(database: duckdb.DuckDBPyConnection, lines: list[str], *, is_combined: bool) -> list[tuple[object, ...]]:
    format_ = replace(FORMATS["combined"], is_combined=is_combined)
    return database.execute(f"{parsed_sql(format_, '')} ORDER BY i", {"text": "\n".join(lines)}).fetchall()


def altered(count: int) -> list[str]:
    """Lines with one or two pieces put in, or in place of others."""
    pick, made = random.Random(20), []
    for _ in range(count):
        line = pick.choice(USUALS)
        for _ in range(pick.choice((1, 1, 2))):
            at = pick.randrange(len(line) + 1)
            line = line[:at] + pick.choice(_PIECES) + line[at + pick.randrange(3) :]
        made.append(line)
    return made


def test_which_lines_are_usual(database: duckdb.DuckDBPyConnection) -> None:
    sql = f"SELECT regexp_full_match(line, '{USUAL}') FROM (SELECT unnest($lines) AS line)"
    assert [found for (found,) in database.execute(sql, {"lines": [*USUALS, *OTHERS]}).fetchall()] == [
        *(True for _ in USUALS),
        *(False for _ in OTHERS),
    ]


def test_both_ways_find_the_same(database: duckdb.DuckDBPyConnection) -> None:
    lines = [*USUALS, *OTHERS, *altered(4_000)]
    fast, slow = parsed(database, lines, is_combined=True), parsed(database, lines, is_combined=False)
    assert [line for line, one, other in zip(lines, fast, slow, strict=True) if one != other] == []
