"""The pages of the documentation, read for tests: sections, tables, examples."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("logrotate/*.md"), *ROOT.glob("tests/faults/*.md")]
)
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(text: str, heading: str) -> str:
    """From a heading to the next one of its level or above; the whole page for an empty
    heading.
    """
    if not heading:
        return text
    found = [(len(m[1]), m[2].replace("`", ""), m.start()) for m in _HEADING.finditer(_FENCED.sub(_blank, text))]
    level, _, start = next(entry for entry in found if entry[1] == heading)
    return text[start : next((at for other, _, at in found if at > start and other <= level), len(text))]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])  # what is fenced holds no headings; places stay as they are


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|-"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def first_cells(text: str) -> set[str]:
    """Everything in code font in the first column of the tables."""
    return {name for cells in rows(text) for name in _CODE.findall(cells[0])}


def second_cells(text: str) -> set[str]:
    return {name for cells in rows(text) for name in _CODE.findall(cells[1])}


def in_code_font(text: str) -> set[str]:
    return set(_CODE.findall(text))


def problem_codes() -> set[str]:
    """The code of every problem in the source: literals, the writer's
    classes, the responses of the reader process, the doctor that gave no answer.
    """
    codes: set[str] = set()
    for path in [*(ROOT / "ingest").rglob("*.py"), *(ROOT / "reports").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"Problem": 1, "ReaderResponse": 0, "ReportError": 0, "NoAnswer": 0}.get(node.func.id)
                if place is not None and len(node.args) > place:
                    codes |= set(_texts(node.args[place]))
            elif isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["code"]:
                codes |= set(_texts(node.value))
    return codes - {""}


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def fenced(text: str, language: str) -> list[str]:
    return [match[2] for match in _FENCED.finditer(text) if match[1] == language]


class Curl(NamedTuple):
    """A curl command, as far as these pages use it."""

    url: str
    headers: dict[str, str]
    data: str


def first_curl(text: str) -> Curl:
    """The first command that posts events."""
    block = next(block for block in fenced(text, "sh") if "/v1/events" in block)
    words = iter(shlex.split(block.replace("\\\n", " "), comments=True))
    url, headers, data = "", {"User-Agent": "curl/8.5.0", "Content-Type": "application/x-www-form-urlencoded"}, ""
    for word in words:
        if word.startswith("http"):
            url = word
        elif word == "-A":
            headers["User-Agent"] = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            data = next(words)
    return Curl(url, headers | {"Host": url.split("/")[2]}, data)
