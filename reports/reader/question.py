"""What decides an answer, without parsing it: a worker compares questions as they were
asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

# Wherever a day begins, a quarter of an hour does: every offset is a multiple of it.
_QUARTER_S = 15 * 60


class Question(NamedTuple):
    """Two equal questions have the same answer in one snapshot. `quarter` is the
    quarter of an hour since 1970 in which a question was asked that is about today, or
    compares times, 0 for any other.
    """

    parameters: tuple[tuple[str, str], ...]
    format: str
    quarter: int


def question_of(parameters: Mapping[str, str], format_: str, now: datetime) -> Question:
    """`parameters` are those of the URL. Without `to` a report ends with today, which
    is another day from midnight in the zone of the question; its zone is not looked up
    for this. How much of an earlier time is compared depends on the moment, too.
    """
    is_fixed = parameters.get("to") and not parameters.get("compare")
    quarter = 0 if is_fixed else int(now.timestamp()) // _QUARTER_S
    return Question(tuple(sorted(parameters.items())), format_, quarter)
