"""The words of docs/architecture.md are those of the log events and the metrics."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.builders.pages import ROOT, page, rows, section

PRODUCT = ("foldlog", "ingest", "reports", "compactor", "shared")
LEVELS = {"debug", "info", "warning", "error"}


def terms() -> set[str]:
    """Every term of the glossary, as it begins a name: `day merge` is `day_merge`."""
    cells = [row[0] for row in rows(section(page("docs/architecture.md"), "Words"))]
    return {term.strip().replace(" ", "_") for cell in cells for term in cell.split(",")}


def log_events() -> set[str]:
    """The first argument of every call of a logger in the source."""
    return {name for package in PRODUCT for name in _events_of(package)}


def _events_of(package: str) -> Iterator[str]:
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                constants = [
                    each for given in node.args[:1] for each in ast.walk(given) if isinstance(each, ast.Constant)
                ]
                yield from (str(each.value) for each in constants)


def metrics() -> set[str]:
    text = (ROOT / "ingest/observe/metric_families.py").read_text("utf-8")
    return {name.removeprefix("foldlog_") for name in re.findall(r"\"(foldlog_[a-z_]+)\"", text)}


def strays(names: set[str]) -> set[str]:
    """Names that begin with no term, in the singular or the plural."""
    known = re.compile(rf"(last_)?({'|'.join(terms())})s?(_|$)")
    return {name for name in names if not known.match(name)}


def test_each_name_begins_with_a_word_of_the_glossary() -> None:
    events = log_events()
    assert len(events) >= 41 and len(metrics()) >= 40 and len(terms()) > 30
    assert strays(events | metrics()) == set(), "docs/architecture.md, Words: add their noun, or use one that is there"


def test_name_outside_the_glossary_is_noticed() -> None:
    assert strays({"stray_adopted", "segment_sealed"}) == {"stray_adopted"}
