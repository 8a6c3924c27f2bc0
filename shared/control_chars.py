"""The characters that control a terminal, and their escape in JSON.

C0, DEL, C1, line separators and the bidirectional controls may rewrite a terminal or
hide text in it. Escaping them costs in proportion to the text, whatever it is made of:
the event loop does it, and calls no Python function for a character.
"""

from __future__ import annotations

import re
from functools import cache
from json.encoder import encode_basestring_ascii

CONTROL_CHARS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_LAST = 0x2069

# JSON escapes C0 already, and the newlines between lines must be kept. DEL is ignored
# by terminals, and would take six bytes for one.
_UNESCAPED_IN_JSON = re.compile("([\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069])")
_ESCAPES = {char: f"\\u{ord(char):04x}" for char in filter(_UNESCAPED_IN_JSON.match, map(chr, range(_LAST + 1)))}
# Where more than one character in so many has to be escaped, all that are not ASCII
# are, which is fast: at most three bytes for one.
_DENSE = 64


def escape_control_chars(encoded: bytes) -> bytes:
    """The same JSON with control characters escaped."""
    return escape_in_log(encoded).replace(b"\x7f", b"\\u007f")


def escape_in_log(encoded: bytes) -> bytes:
    """The same JSON, a line or several, with all of them escaped but DEL. It has at
    most three times the bytes.
    """
    if encoded.isascii():
        return encoded
    text = encoded.decode("utf-8")
    if _UNESCAPED_IN_JSON.search(text) is None:
        return encoded
    return "\n".join(map(_escape_line, text.split("\n"))).encode("utf-8")


def _escape_line(line: str) -> str:
    parts = _UNESCAPED_IN_JSON.split(line, 1 + len(line) // _DENSE)
    if len(parts) > 2 * (len(line) // _DENSE) + 1:
        return _to_ascii(line)
    parts[1::2] = map(_ESCAPES.__getitem__, parts[1::2])
    return "".join(parts)


def _to_ascii(line: str) -> str:
    """What stays as it is stands for itself as a control character, which JSON has
    none of, while the library escapes the others.
    """
    kept = line.replace("\\", "\b").replace('"', "\f").replace("\x7f", "\r")
    escaped = encode_basestring_ascii(kept)[1:-1]
    return escaped.replace("\\f", '"').replace("\\r", "\x7f").replace("\\b", "\\")


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
