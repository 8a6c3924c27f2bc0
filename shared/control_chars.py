"""The characters that control a terminal, and their escape in JSON.

C0, DEL, C1, line separators and the bidirectional controls may rewrite a terminal or
hide text in it.
"""

from __future__ import annotations

import re

CONTROL_CHARS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# JSON escapes C0 already, and the newlines between lines must be kept.
_UNESCAPED_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def escape_control_chars(encoded: bytes) -> bytes:
    """The same JSON with control characters escaped."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _UNESCAPED_IN_JSON.sub(_escape, encoded.decode("utf-8")).encode("utf-8")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def printable(text: str) -> str:
    """Text for a terminal: control and invisible characters become escapes."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else f"\\u{ord(char):04x}" for char in text])
