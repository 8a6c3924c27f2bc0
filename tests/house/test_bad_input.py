"""docs/bad-input.md: every rule has a test, every row of a test's table has a rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.builders.pages import page, rows

TESTS = Path(__file__).parents[1]
_CODE = re.compile(r"`([^`]+)`")
_RULE = re.compile(r"([a-z0-9-]+): ")


def rules() -> dict[str, list[str]]:
    """The tests of each rule, as `path::name` below tests/."""
    found: dict[str, list[str]] = {}
    for rule, _, _, tests in [cells for cells in rows(page("docs/bad-input.md")) if cells[0] != "rule"]:
        name = rule.strip("`")
        assert name not in found, f"two rules are named {name}"
        found[name] = _CODE.findall(tests)
    return found


@cache
def definitions(path: Path) -> dict[str, set[str]]:
    """Every function and module constant of a test module, with the rules that its keys
    begin with.
    """
    found: dict[str, set[str]] = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = set()
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = set(_rules_in(node.value))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = set(_rules_in(node.value))
    return found


def _rules_in(table: ast.expr) -> Iterator[str]:
    for node in ast.walk(table):
        keys = node.keys if isinstance(node, ast.Dict) else [node.key] if isinstance(node, ast.DictComp) else []
        for key in keys:
            text = key.values[0] if isinstance(key, ast.JoinedStr) else key
            if isinstance(text, ast.Constant) and isinstance(text.value, str) and (rule := _RULE.match(text.value)):
                yield rule[1]


@pytest.mark.parametrize("rule", rules())
def test_every_rule_has_a_test(rule: str) -> None:
    tests = rules()[rule]
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        found = definitions(TESTS / file)
        assert name in found, test
        assert name.startswith("test_") or rule in found[name], f"no row of {test} begins with `{rule}: `"


def test_every_row_of_a_table_has_a_rule() -> None:
    listed = {(test, rule) for rule, tests in rules().items() for test in tests}
    in_tables = {
        (f"{path.relative_to(TESTS)}::{table}", rule)
        for path in (TESTS / "ingest").rglob("test_*.py")
        for table, found in definitions(path).items()
        for rule in found
    }
    assert in_tables - listed == set()
