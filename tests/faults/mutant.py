"""A mutant: a defect that is made on purpose, and the tests that must notice."""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """What is replaced in a file. The text must be there, once."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A defect, how it is made, and the tests of which one must fail."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
