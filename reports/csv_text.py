"""The one writer of CSV, for the command and for HTTP: no text of a client is a formula
in any spreadsheet, or moves a terminal.

A cell is a formula if it begins with `=`, `+`, `-` or `@`, or one of their other forms,
maybe behind what is not seen. It gets an apostrophe in front, as text has in a
spreadsheet. A program may split lines at `;` or TAB, too, in whatever quotes they
stand: what follows one inside a text is a beginning as well. Control characters become
escapes. `raw` is for programs: RFC 4180 with the values as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from string import ascii_letters, digits
from typing import Any

from shared.control_chars import CONTROL_CHARS, escape_controls

# Also of full width and small, above and below the line, doubled, the minus sign, and
# the plus of Hebrew.
_FORMULA = (
    r"=+\-@\u207a\u207b\u207c\u208a\u208b\u208c\u2a75\u2a76\ufb29\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
)
# Where another separator than the comma would begin a cell.
_SEPARATORS = r";|\t\n\x0b\f\r\x1c-\x1e\x85\u2028\u2029"
# What a spreadsheet may pass over at the beginning of a cell: all that is neither a
# letter, a digit nor a visible sign of ASCII, such as blanks, other control characters
# and what has no width (some of it counts as letters); and quotes, which some take off.
_FILLERS = r"\u115f\u1160\u3164\uffa0"
_SEEN = r"!#$%&()*,./:<>?\[\\\]^`{}~"
_UNSEEN = rf"(?:[{_FILLERS}]|[^\w{_SEEN}{_FORMULA}{_SEPARATORS}])"
_BEGINS_AS_FORMULA = re.compile(f"(?:{_UNSEEN}|[{_SEPARATORS}])*[{_FORMULA}]")
# The separators are not among what is passed over: each text is read once.
_INNER_FORMULA = re.compile(f"([{_SEPARATORS}])(?={_UNSEEN}*[{_FORMULA}])")
_HARMLESS = frozenset(f"{ascii_letters}{digits}/{{")
_NEEDS_A_LOOK = re.compile(f'[",{_SEPARATORS}]|{CONTROL_CHARS.pattern}')


def encode_csv(columns: list[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True, raw: bool = False) -> str:
    """CSV with lines that end as RFC 4180 says. None, or a column that a row lacks, is
    an empty cell; numbers stay numbers.
    """
    if raw:
        return _encode_raw(columns, rows, header=header)
    lines = [",".join(columns)] if header else []
    lines += [",".join([_cell(row.get(name)) for name in columns]) for row in rows]
    return "".join([f"{line}\r\n" for line in lines])


def _encode_raw(columns: list[str], rows: Iterable[Mapping[str, Any]], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(columns)
    writer.writerows([[row.get(name) for name in columns] for row in rows])
    return text.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    if not value or (value[0] in _HARMLESS and not _NEEDS_A_LOOK.search(value)):
        return value  # nearly all cells
    return _quoted(value)


def _quoted(value: str) -> str:
    """Quoted, unless it holds nothing that a reader could take for more than a text."""
    text = _INNER_FORMULA.sub(r"\1'", value)
    if _BEGINS_AS_FORMULA.match(value):
        text = f"'{text}"
    elif not _NEEDS_A_LOOK.search(value) and not value[0].isspace():
        return value
    return f'"{escape_controls(text).replace(chr(34), chr(34) * 2)}"'
