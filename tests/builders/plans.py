"""What DuckDB hashes in a statement: the keys of its groups, joins, sets and windows,
with the columns of tables and files that each comes from. Read from its logical plan.

An operator that is not known here raises UnknownOperator: nothing passes unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from tests.builders.hashed_keys import Column, HashedKeys, Node, calls_in, column_of, merged, stored_column, type_of

if TYPE_CHECKING:
    import duckdb

# The rules of the optimizer that decide about keys. Others depend on what tables hold,
# or put compressed texts in place of short ones.
_RULES = {"expression_rewriter", "filter_pushdown", "join_order", "deliminator", "in_clause"}
_EQUALITIES = {"COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM"}
_JOINS = {"LOGICAL_COMPARISON_JOIN", "LOGICAL_DELIM_JOIN", "LOGICAL_ASOF_JOIN", "LOGICAL_ANY_JOIN"}
_ALL_OF_A_CHILD = {"LOGICAL_EXCEPT", "LOGICAL_INTERSECT"}
_AS_BELOW = {"LOGICAL_FILTER", "LOGICAL_ORDER_BY", "LOGICAL_LIMIT", "LOGICAL_TOP_N", "LOGICAL_DISTINCT"}
# These hash their arguments, whatever the operator does.
_HASHING_FUNCTIONS = {
    *("mode", "entropy", "histogram", "histogram_exact", "approx_top_k", "map", "map_from_entries"),
    *("list_distinct", "array_distinct", "list_unique", "array_unique", "list_has_any", "list_has_all"),
    *("list_intersect", "array_intersect", "list_aggregate", "array_aggregate"),
}


def _joins_texts(call: Node) -> bool:
    """A list is aggregated to one text, which hashes nothing."""
    return any(_constant(each) == "string_agg" for each in call["children"])


def _constant(expression: Node) -> object:
    value = expression.get("value")
    return value.get("value") if isinstance(value, dict) else None


class UnknownOperator(AssertionError):
    """A plan that this module cannot read."""


def hashed_keys(database: duckdb.DuckDBPyConnection, query: str) -> list[HashedKeys]:
    """The keys of each operator of a query without parameters, over tables and views
    of a database. Files are not supported.
    """
    (rules,) = database.execute("SELECT list(name) FROM duckdb_optimizers()").fetchall()[0]
    database.execute(f"SET disabled_optimizers = '{','.join(sorted({*rules} - _RULES))}'")
    (text,) = database.execute("SELECT json_serialize_plan($1, optimize := true)", [query]).fetchall()[0]
    database.execute("RESET disabled_optimizers")
    found = json.loads(text)
    if found["error"]:
        raise UnknownOperator(f"{found['error_message']}: {query}")
    reader = _Reader()
    for plan in found["plans"]:
        reader.columns(plan)
    return reader.found


@dataclass
class _Reader:
    """Walks a plan from its leaves; `found` are the keys that it has met."""

    found: list[HashedKeys] = field(default_factory=list)
    ctes: dict[int, list[Column]] = field(default_factory=dict)
    eliminated: list[list[Column]] = field(default_factory=list)

    def columns(self, node: Node) -> list[Column]:
        """The columns of an operator, after those below it."""
        kind: str = node["type"]
        if kind in _JOINS:
            return self._join(node)
        if kind == "LOGICAL_MATERIALIZED_CTE":
            self.ctes[node["table_index"]] = self.columns(node["children"][0])
            return self.columns(node["children"][1])
        below = [self.columns(child) for child in node["children"]]
        self._note_functions(node, list(chain(*below)))
        if kind in _AS_BELOW:
            self._note_distinct(node, below[0])
            return _projected(below[0], node.get("projection_map"))
        if kind in _ALL_OF_A_CHILD or kind == "LOGICAL_UNION":
            return self._set(node, below)
        made = _MAKERS.get(kind)
        if made is None:
            raise UnknownOperator(kind)
        return made(self, node, below)

    def note(self, operator: str, keys: Iterable[Column]) -> None:
        self.found.append(HashedKeys(operator, tuple(keys)))

    def _note_functions(self, node: Node, inputs: list[Column]) -> None:
        for call in calls_in(node.get("expressions", [])):
            if call["qname"]["path"][-1] in _HASHING_FUNCTIONS and not _joins_texts(call):
                self.note(call["qname"]["path"][-1], (column_of(each, inputs) for each in call["children"]))

    def _note_distinct(self, node: Node, below: list[Column]) -> None:
        if node["type"] == "LOGICAL_DISTINCT":
            self.note("DISTINCT", (column_of(each, below) for each in node["distinct_targets"]))

    def _set(self, node: Node, below: list[list[Column]]) -> list[Column]:
        if node["type"] in _ALL_OF_A_CHILD or not node["setop_all"]:
            for each in below:
                self.note(node["type"], each)
        return [merged(each) for each in zip(*below, strict=True)]

    def _join(self, node: Node) -> list[Column]:
        left = self.columns(node["children"][0])
        keys = [column_of(each, left) for each in node.get("duplicate_eliminated_columns", [])]
        self.eliminated.append(keys)
        right = self.columns(node["children"][1])
        self.eliminated.pop()
        if keys:
            self.note("DELIM_JOIN", keys)
        equal = [each for each in node.get("conditions", []) if each.get("comparison") in _EQUALITIES]
        if equal:
            self.note("JOIN", (column_of(each["left"], left) for each in equal))
            self.note("JOIN", (column_of(each["right"], right) for each in equal))
        return _joined(node, left, right)


def _joined(node: Node, left: list[Column], right: list[Column]) -> list[Column]:
    left, right = _projected(left, node.get("left_projection_map")), _projected(right, node.get("right_projection_map"))
    kind = node["join_type"]
    if kind in {"SEMI", "ANTI"}:
        return left
    if kind in {"RIGHT_SEMI", "RIGHT_ANTI"}:
        return right
    return [*left, Column("BOOLEAN")] if kind == "MARK" else [*left, *right]


def _get(_reader: _Reader, node: Node, _below: list[list[Column]]) -> list[Column]:
    names, types = node["names"], [type_of(each) for each in node["returned_types"]]
    read = [stored_column(names[at], types[at]) if at < len(names) else Column("BIGINT") for at in _indexes(node)]
    return _projected(read, node["projection_ids"])


def _indexes(node: Node) -> list[int]:
    return [each["index"] for each in node["column_indexes"]] or [1 << 63]


def _cte(reader: _Reader, node: Node, _below: list[list[Column]]) -> list[Column]:
    if node["cte_index"] not in reader.ctes:
        raise UnknownOperator("a recursive CTE")
    return reader.ctes[node["cte_index"]]


def _eliminated(reader: _Reader, _node: Node, _below: list[list[Column]]) -> list[Column]:
    return reader.eliminated[-1]


def _projection(_reader: _Reader, node: Node, below: list[list[Column]]) -> list[Column]:
    return [column_of(each, below[0]) for each in node["expressions"]]


def _aggregate(reader: _Reader, node: Node, below: list[list[Column]]) -> list[Column]:
    groups = [column_of(each, below[0]) for each in node["groups"]]
    for chosen in node["grouping_sets"] or [range(len(groups))]:
        reader.note("GROUP BY", (groups[at] for at in chosen))
        for each in node["expressions"]:
            if each["aggregate_type"] == "DISTINCT":
                arguments = [column_of(child, below[0]) for child in each["children"]]
                reader.note("aggregate of DISTINCT", [*(groups[at] for at in chosen), *arguments])
    made = [column_of(each, below[0]) for each in node["expressions"]]
    return [*groups, *made, *(Column("BIGINT") for _ in node["grouping_functions"])]


def _window(reader: _Reader, node: Node, below: list[list[Column]]) -> list[Column]:
    for each in node["expressions"]:
        reader.note("WINDOW", (column_of(key, below[0]) for key in each["partitions"]))
    return [*below[0], *(column_of(each, below[0]) for each in node["expressions"])]


def _unnest(_reader: _Reader, node: Node, below: list[list[Column]]) -> list[Column]:
    return [*below[0], *(column_of(each, below[0]) for each in node["expressions"])]


def _values(_reader: _Reader, node: Node, _below: list[list[Column]]) -> list[Column]:
    return [Column(type_of(each)) for each in node.get("expr_types") or node.get("chunk_types") or node["return_types"]]


def _cross(_reader: _Reader, _node: Node, below: list[list[Column]]) -> list[Column]:
    return list(chain(*below))


def _nothing(_reader: _Reader, _node: Node, _below: list[list[Column]]) -> list[Column]:
    return [Column("INTEGER")]


_MAKERS = {
    "LOGICAL_GET": _get,
    "LOGICAL_CTE_REF": _cte,
    "LOGICAL_DELIM_GET": _eliminated,
    "LOGICAL_PROJECTION": _projection,
    "LOGICAL_AGGREGATE_AND_GROUP_BY": _aggregate,
    "LOGICAL_WINDOW": _window,
    "LOGICAL_UNNEST": _unnest,
    "LOGICAL_CHUNK_GET": _values,
    "LOGICAL_EXPRESSION_GET": _values,
    "LOGICAL_EMPTY_RESULT": _values,
    "LOGICAL_CROSS_PRODUCT": _cross,
    "LOGICAL_DUMMY_SCAN": _nothing,
}


def _projected(columns: list[Column], chosen: Sequence[int] | None) -> list[Column]:
    return [columns[at] for at in chosen] if chosen else columns
