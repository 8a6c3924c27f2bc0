"""The SQL in the source that may hash texts: statements of `.sql` files, and strings of
Python modules. Each knows whether a statement that was run contains it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.builders.pages import ROOT

OTHER_DATABASES = tuple(
    ROOT / folder
    for folder in (
        "shared/stores/sqlite",
        "shared/stores/postgres",
        "shared/stores/clickhouse",
        "reports/sql/postgres",
        "reports/sql/clickhouse",
        "ingest/rate_store",
    )
)
PACKAGES = ("compactor", "reports", "shared", "foldlog", "ingest")
# UNION ALL and IS DISTINCT FROM hash nothing; `* EXCEPT (column)` is no set.
HASHES = re.compile(
    r"\b(GROUP BY|DISTINCT(?! FROM)|JOIN|USING|PARTITION BY|EXCEPT(?! \()|INTERSECT|UNION(?! ALL)|EXISTS"
    r"|IN \((?=SELECT|FROM|WITH|\{)|mode\(|histogram\(|entropy\()"
)
_COMMENT = re.compile(r"--.*")
_HOLE = re.compile(r"\{\w+\}|\bWITH\b")  # the reports put relations after WITH


class Source(NamedTuple):
    """A piece of SQL: where it stands, and its text between the holes that are filled
    when it is composed.
    """

    place: str
    pieces: tuple[str, ...]

    def is_in(self, statement: str) -> bool:
        """Whether a statement contains the pieces, in order. White space is any."""
        at = 0
        for piece in self.pieces:
            at = statement.find(piece, at)
            if at < 0:
                return False
            at += len(piece)
        return True


def sources() -> list[Source]:
    """Of DuckDB: SQLite groups and joins by trees, not by hashes, and to PostgreSQL a
    store joins by the hashes that Foldlog has made.
    """
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.*"))]
    files = [path for path in paths if not any(path.is_relative_to(other) for other in OTHER_DATABASES)]
    found = [each for path in files if path.suffix == ".sql" for each in _of_sql(path)]
    return found + [each for path in files if path.suffix == ".py" for each in _of_python(path)]


def normalized(sql: str) -> str:
    """Without comments, and with one space for white space."""
    return " ".join(_COMMENT.sub("", sql).split())


def _of_sql(path: Path) -> Iterator[Source]:
    for number, statement in enumerate(path.read_text("utf-8").rstrip(";\n").split(";\n\n"), 1):
        pieces = (normalized(piece) for piece in _HOLE.split(_COMMENT.sub("", statement)))
        yield Source(f"{path.relative_to(ROOT)}, statement {number}", tuple(filter(None, pieces)))


def _of_python(path: Path) -> Iterator[Source]:
    tree = ast.parse(path.read_text("utf-8"))
    nodes = list(ast.walk(tree))
    inner = {
        id(each) for node in nodes if isinstance(node, ast.JoinedStr) for each in ast.walk(node) if each is not node
    }
    inner |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    for node in nodes:
        if id(node) in inner or not isinstance(node, (ast.Constant, ast.JoinedStr)):
            continue
        pieces = _pieces(node)
        if HASHES.search("{}".join(pieces)):
            pieces = [normalized(piece) for piece in pieces]
            yield Source(f"{path.relative_to(ROOT)}:{node.lineno}", tuple(filter(None, pieces)))


def _pieces(node: ast.Constant | ast.JoinedStr) -> list[str]:
    values = node.values if isinstance(node, ast.JoinedStr) else [node]
    pieces = [""]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            pieces[-1] += value.value
        else:
            pieces.append("")
    return pieces
