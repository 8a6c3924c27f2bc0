"""docs/threats.md: each row names a test that is there, and each role has something to
read.
"""

from __future__ import annotations

import re

import pytest

from tests.builders.pages import ROOT, page, rows, section

PAGE = "docs/threats.md"
TABLES = ("Visitors, without a key", "Keys and tokens", "On the host", "Around it")
ROWS = [row for name in TABLES for row in rows(section(page(PAGE), name)) if row[-1] != "test"]
ROLES = [row[0] for row in rows(section(page(PAGE), "The roles"))]


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_row_names_tests_that_are_there(row: list[str]) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[-1])
    assert named, "what holds it is shown by a test"
    for file, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), (file, name)


def test_each_role_is_there() -> None:
    assert len(ROWS) >= 30
    assert set(ROLES) >= {
        *("visitor", "sender", "reader", "admin", "local user", "group member", "network neighbour", "proxy"),
        *("operator", "database user", "finder of a backup"),
    }


def test_page_and_report_lead_to_each_other() -> None:
    assert "SECURITY.md" in page(PAGE) and "docs/threats.md" in page("SECURITY.md")
    assert "## Out of scope" in page(PAGE)
