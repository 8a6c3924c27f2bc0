"""The characters that control a terminal, and their escape in JSON.

C0, DEL, C1, line separators and the bidirectional controls may rewrite a terminal or
hide text in it.
"""

from __future__ import annotations

import re
from functools import cache

CONTROL_CHARS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_LAST = 0x2069

# JSON escapes C0 already, and the newlines between lines must be kept.
_UNESCAPED_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def escape_control_chars(encoded: bytes) -> bytes:
    """The same JSON with control characters escaped."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _UNESCAPED_IN_JSON.sub(_escape, encoded.decode("utf-8")).encode("utf-8")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def escape_controls(text: str, *, keep: str = "") -> str:
    """Text with control characters escaped, except those of `keep`; what is only
    invisible stays, for some scripts need it.
    """
    return text.translate(_escapes(keep)) if CONTROL_CHARS.search(text) else text


@cache
def _escapes(keep: str) -> dict[int, str]:
    """For `str.translate`: a text that is all control characters costs no call each."""
    found = filter(CONTROL_CHARS.match, map(chr, range(_LAST + 1)))
    return {ord(char): f"\\u{ord(char):04x}" for char in found if char not in keep}


def printable(text: str) -> str:
    """Text for a terminal: control and invisible characters become escapes."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else f"\\u{ord(char):04x}" for char in text])
