"""A statement composed of a `.sql` file and the relations that its comment names."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources


def with_relations(relations: dict[str, str], text: str) -> str:
    """A statement with relations before its own. Each is expanded where it is used, so
    that only the columns that are used there are read.
    """
    composed = "".join(f"{name} AS NOT MATERIALIZED ({sql}), " for name, sql in relations.items())
    return re.sub(r"^WITH\b", lambda _: f"WITH {composed}", text, count=1, flags=re.MULTILINE)


@cache
def sql_file(name: str) -> str:
    """The text of a `.sql` file of this folder."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def composed(name: str, relations: dict[str, str], **holes: str) -> str:
    """The text of a `.sql` file with relations before its own, and SQL in its holes."""
    text = re.sub(r"\{(\w+)\}", lambda found: holes[found[1]], sql_file(name))
    return with_relations(relations, text)
