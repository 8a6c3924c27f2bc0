"""The grammar of `filter`: conditions that an event must all satisfy. Pure.

docs/reports.md defines each operator. A glob is matched in time linear in the length of
pattern and text (reports/sql/), and its stars are bounded besides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from reports.dimensions import KEY_MAX, NAMES, has_key
from reports.query_error import QueryError
from shared.sql.visits import ENDS_OF_VISITS

Operator = Literal["==", "!=", "=~", "!~", ">", "<"]

FILTERS_MAX = 20
OF_VISITS = "entry and exit are of visits; this is about events"
# Of all conditions together.
VALUES_MAX = 100
STARS_MAX = 10
VALUE = "value"
TEXT_OPERATORS: tuple[Operator, ...] = ("==", "!=", "=~", "!~")
NUMBER_OPERATORS: tuple[Operator, ...] = (">", "<")

_CONDITION = re.compile(
    rf"(?P<field>[a-z_]+|(?:props|query)\.[^=!]{{1,{KEY_MAX}}}?)(?P<operator>==|!=|=~|!~)(?P<text>.*)|value(?P<side>[<>])(?P<number>.*)",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_STAR = re.compile(r"(?<!\\)\*")


@dataclass(frozen=True)
class Condition:
    """One comparison of a filter: with one of several `values` (`==`, `=~`), or with
    none of them. An empty value stands for events without one. Of a glob (`=~`, `!~`)
    the backslashes before its `*` are kept. The value of `>` and `<` is a number.
    """

    field: str
    operator: Operator
    values: tuple[str, ...]

    @property
    def is_negative(self) -> bool:
        """Whether it is for events that have none of the values."""
        return self.operator in ("!=", "!~")

    @property
    def is_glob(self) -> bool:
        return self.operator in ("=~", "!~")


def parse_filter(text: str, parameter: str = "filter") -> tuple[Condition, ...]:
    """The conditions between `;`. Raises QueryError, which names `parameter`."""
    if not is_unicode(text):
        raise QueryError(parameter, "must be UTF-8")
    parts = [part for part in re.split(r"(?<!\\);", text) if part]
    if len(parts) > FILTERS_MAX:
        raise QueryError(parameter, f"at most {FILTERS_MAX} conditions")
    conditions = tuple(_condition(part, parameter) for part in parts)
    if sum(len(each.values) for each in conditions) > VALUES_MAX:
        raise QueryError(parameter, f"at most {VALUES_MAX} values, of all conditions together")
    return conditions


def event_filter(text: str, parameter: str) -> tuple[Condition, ...]:
    """The conditions of a filter of events, which have no entry and no exit. Raises
    QueryError.
    """
    conditions = parse_filter(text, parameter)
    if any(each.field in ENDS_OF_VISITS for each in conditions):
        raise QueryError(parameter, OF_VISITS)
    return conditions


def is_unicode(text: str) -> bool:
    """False where a byte of the command line, or half a character, stands in it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def glob_pieces(glob: str) -> list[str]:
    """The texts between the stars of a glob, in order."""
    return [piece.replace("\\*", "*") for piece in _STAR.split(glob)]


def glob_regex(glob: str) -> str:
    """A regular expression of RE2, which matches in linear time, for a whole text."""
    return "(?s)^" + ".*".join(map(re.escape, glob_pieces(glob))) + "$"


def _condition(part: str, parameter: str) -> Condition:
    match = _CONDITION.fullmatch(part)
    if match is not None and match["side"]:
        return Condition(VALUE, cast(Operator, match["side"]), (_number(match["number"], parameter),))
    if match is None or not (match["field"] in NAMES or has_key(match["field"])):
        known = f"{', '.join(NAMES)}, props.<key> or query.<name>"
        raise QueryError(parameter, f"must be conditions such as path==/a;country!=DE|FR;path=~/docs/* on {known}")
    found = Condition(_unescaped(match["field"]), cast(Operator, match["operator"]), tuple(_values(match["text"])))
    if found.is_glob and max(len(glob_pieces(glob)) for glob in found.values) > STARS_MAX + 1:
        raise QueryError(parameter, f"at most {STARS_MAX} * in a value of {found.operator}")
    return found


def _values(text: str) -> Iterator[str]:
    return (_unescaped(value) for value in re.split(r"(?<!\\)\|", text))


def _unescaped(text: str) -> str:
    return text.replace("\\;", ";").replace("\\|", "|")


def _number(text: str, parameter: str) -> str:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise QueryError(parameter, "value is compared with a number, such as value>9.5")
    return text
