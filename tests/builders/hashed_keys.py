"""What a statement hashes together, and whether a client could make it collide: the
columns of an operator, each with the columns of tables and files that it is made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

Node = Mapping[str, Any]
# Texts that are no client's, and of which there are few.
NOT_OF_CLIENTS = {
    "dimension": "a name in shared/schema.py",
    "filename": "the path of a part, which Foldlog names",
    "index_file": "the path of an index of ids, which Foldlog names",
}
_TEXTS = {"VARCHAR", "BLOB", "JSON"}
_NUMBERS = {"UBIGINT", "UHUGEINT", "HUGEINT"}
# Strong numbers that a table stores, and of which texts they are. Others may be fast,
# and have the name of their text.
_STORED_NUMBERS = {"id_number": {"site", "id"}}
# A number of these is one event's, whatever stands beside it.
_IDS = ({"site", "id"}, {"site", "client_id"})


class Column(NamedTuple):
    """A column of an operator: its type, the columns of tables and files whose texts it
    is made of, and whether it is a number that many texts cannot share.
    """

    type: str
    sources: frozenset[str] = frozenset()
    is_strong: bool = False

    @property
    def is_text(self) -> bool:
        return self.type in _TEXTS and bool(self.sources)


class HashedKeys(NamedTuple):
    """The columns that an operator hashes together."""

    operator: str
    keys: tuple[Column, ...]

    def unnumbered(self) -> frozenset[str]:
        """The sources of texts that no strong number of theirs, or of the event's id,
        stands beside: where they share a hash, all keys do.
        """
        numbers = [key.sources for key in self.keys if key.type in _NUMBERS and key.is_strong]
        if any(ids <= number for ids in _IDS for number in numbers):
            return frozenset()
        texts = (key.sources for key in self.keys if key.is_text)
        return frozenset(chain(*(text for text in texts if not any(text <= number for number in numbers))))


def stored_column(name: str, type_: str) -> Column:
    if type_ in _NUMBERS:
        return Column(type_, frozenset(_STORED_NUMBERS.get(name, {name})), name in _STORED_NUMBERS)
    return Column(type_, frozenset({name}) if type_ in _TEXTS else frozenset())


def column_of(expression: Node, inputs: list[Column]) -> Column:
    """What an expression over columns is made of."""
    used = [inputs[each["index"]] for each in _references(expression)]
    is_strong = any(each.is_strong for each in used) or any(_is_strong(call) for call in calls_in(expression))
    sources = frozenset(chain(*(each.sources for each in used)))
    return Column(type_of(expression.get("return_type") or {"id": "BOOLEAN"}), sources, is_strong)


def _is_strong(call: Node) -> bool:
    """Whether a function makes a strong number, or a keyed one: of two hashes."""
    name, arguments = call["qname"]["path"][-1], call["children"]
    shifted = [each["qname"]["path"][-1] for each in arguments if "qname" in each]
    return name == "md5_number" or (name == "hash" and len(arguments) == 2 and shifted == ["concat"])


def merged(columns: Sequence[Column]) -> Column:
    """A column with the rows of several."""
    is_strong = all(each.is_strong or not each.sources for each in columns)
    return Column(columns[0].type, frozenset(chain(*(each.sources for each in columns))), is_strong)


def _references(expression: Any) -> Iterator[Node]:
    return (each for each in _objects(expression) if each.get("expression_class") == "BOUND_REF")


def calls_in(expressions: Any) -> Iterator[Node]:
    return (each for each in _objects(expressions) if "qname" in each and "children" in each)


def _objects(tree: Any) -> Iterator[Node]:
    """Every object within a tree of JSON, an outer one before those within."""
    left = [tree]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            yield each
            left.extend(reversed(each.values()))
        elif isinstance(each, list):
            left.extend(reversed(each))


def type_of(written: Node) -> str:
    """Of a list that of its elements, of a struct that of its first text."""
    info = written.get("type_info") or {}
    if "child_type" in info:
        return type_of(info["child_type"])
    fields = (type_of(each["second"]) for each in info.get("child_types", []))
    return next((each for each in fields if each in _TEXTS), str(written["id"]))
