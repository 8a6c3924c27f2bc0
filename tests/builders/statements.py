"""Records the statements that the product runs in DuckDB, with what they hash.

A second connection has the same tables and views, empty, and tables in place of files:
there a plan can be had of every statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import duckdb
import pytest

from tests.builders.hashed_keys import NOT_OF_CLIENTS, HashedKeys
from tests.builders.plans import hashed_keys

_FILES = re.compile(r"\b(read_parquet|read_json|read_csv|parquet_kv_metadata)\(")
_PARAMETER = re.compile(r"\$(\w+)")
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
# Statements that differ in these alone hash the same.
_CONSTANT = re.compile(r"'[^']*'|\b\d+\b")
_CONSTANTS = re.compile(r"(\?, )+(?=\?)")
# What a statement computes, whatever becomes of its rows.
_QUERIES = (
    re.compile(r"CREATE OR REPLACE TEMP TABLE \w+ AS\s+(?P<query>.*)", re.DOTALL),
    re.compile(r"INSERT INTO [\w.]+( BY NAME)?\s+(?P<query>.*)", re.DOTALL),
    re.compile(r"COPY \((?P<query>.*)\) TO '.*", re.DOTALL),
    re.compile(r"(?P<query>(WITH|SELECT|FROM)\b.*)", re.DOTALL),
)
_DELETE = re.compile(r"DELETE FROM ([\w.]+) WHERE (.*)", re.DOTALL)
_CREATE = re.compile(r"CREATE OR REPLACE TEMP (?P<name>\w+ \w+)")
_CREATE_IN_FILE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\.")
_WITHOUT_QUERY = re.compile(
    r"CREATE OR REPLACE TEMP (TABLE \w+ \(|VIEW|MACRO)|CREATE TABLE IF NOT EXISTS|SET |DESCRIBE |DROP TABLE |"
    r"ATTACH |BEGIN$|COMMIT$|ROLLBACK$|UPDATE \S+ SET |DELETE FROM \S+$"
)


class Recorded(NamedTuple):
    """A statement as it was run, and what it hashes."""

    text: str
    hashed: list[HashedKeys]

    def texts_of_clients(self) -> set[tuple[str, str]]:
        """What it hashes by the text though a client may have written it: the operator
        and the column that the text comes from.
        """
        return {(each.operator, text) for each in self.hashed for text in each.unnumbered() - NOT_OF_CLIENTS.keys()}


@contextmanager
def recorded(patch: pytest.MonkeyPatch) -> Iterator[list[Recorded]]:
    """The statements of all connections that are made meanwhile; one of those that
    differ in constants alone.
    """
    connect, statements = duckdb.connect, Statements(duckdb.connect())
    with patch.context() as patched:
        patched.setattr(duckdb, "connect", lambda **given: _Recording(connect(**given), statements))
        # Those of passes before and after are others.
        patched.setattr("compactor.pass_database._kept", [])
        yield statements.found


class _Recording:
    """A connection that records what it executes."""

    def __init__(self, real: duckdb.DuckDBPyConnection, statements: Statements) -> None:
        self._real, self._statements = real, statements

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> _Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def cursor(self) -> _Recording:
        return _Recording(self._real.cursor(), self._statements)

    def execute(self, text: str, values: Any = None) -> duckdb.DuckDBPyConnection:
        for statement in duckdb.extract_statements(text):
            self._statements.add(statement.query.strip().rstrip(";"), values)
        return self._real.execute(text, values)


class Statements:
    """What was run, and a database in which it can be planned."""

    def __init__(self, planner: duckdb.DuckDBPyConnection) -> None:
        self.found: list[Recorded] = []
        self._planner = planner
        self._shapes: set[str] = set()
        self._made: dict[str, str] = {}

    def add(self, text: str, values: Any = None) -> None:
        """Plan a statement before it is run."""
        bare = _with_literals(_COMMENT.sub("", text), values).strip()
        shape = _CONSTANTS.sub("", _CONSTANT.sub("?", bare))
        created = _CREATE.match(bare)
        is_made = created is None or self._made.get(created["name"]) == shape
        if shape in self._shapes and is_made:
            return
        bare = self._with_tables(bare)
        if shape not in self._shapes:
            query = query_of(bare)
            self.found.append(Recorded(text, hashed_keys(self._planner, query) if query else []))
            self._shapes.add(shape)
        if created:
            self._planner.execute(bare)
            self._made[created["name"]] = shape
        if of_file := _CREATE_IN_FILE.match(bare):
            self._planner.execute(f"CREATE SCHEMA IF NOT EXISTS {of_file[1]}")
            self._planner.execute(bare)

    def _with_tables(self, text: str) -> str:
        """The statement with an empty table for each call that reads files."""
        while call := _FILES.search(text):
            source = text[call.start() : _closing(text, call.end())]
            named = [name for name in ("filename", "file_index") if name in text and call[1] == "read_parquet"]
            columns = ", ".join(("*", *named))
            name = f"files_{abs(hash((source, columns)))}"
            self._planner.execute(f"CREATE TABLE IF NOT EXISTS {name} AS SELECT {columns} FROM {source} LIMIT 0")
            text = text.replace(source, name)
        return text


def query_of(text: str) -> str | None:
    """What a statement computes; None if it computes nothing."""
    if _WITHOUT_QUERY.match(text):
        return None
    if deleted := _DELETE.fullmatch(text):
        return f"SELECT 1 FROM {deleted[1]} WHERE {deleted[2]}"
    for pattern in _QUERIES:
        if found := pattern.fullmatch(text):
            return found["query"]
    raise AssertionError(f"not known what this statement computes: {text}")


def _closing(text: str, start: int) -> int:
    """The place after the parenthesis that closes the one before `start`."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(text[start], 0)
        start += 1
    return start


def _with_literals(text: str, values: Any) -> str:
    if not values:
        return text
    by_name = values if isinstance(values, Mapping) else {str(at + 1): value for at, value in enumerate(values)}
    return _PARAMETER.sub(lambda found: _literal(by_name[found[1]]), text)


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value}'"
    if isinstance(value, date):
        return f"DATE '{value}'"
    if isinstance(value, UUID):
        return f"UUID '{value}'"
    return str(value).lower() if isinstance(value, bool | int | float) else "'" + value.replace("'", "''") + "'"
