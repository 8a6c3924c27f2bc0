r"""What a log's escapes stand for, and how an event spells it.

Servers write bytes that are not printable as `\xC3` (nginx, Apache), a quotation mark
as `\"` or `\x22`. A path is spelled as a browser's `location.href` has it: what is not
ASCII percent-encoded, so that `/café` is one page, however it was logged.
"""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes

_ESCAPE = re.compile(rb"\\x([0-9A-Fa-f]{2})|\\u00([0-9A-Fa-f]{2})|\\([\"\\bfnrtv/])")
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_KEPT = "".join(map(chr, range(0x20, 0x7F)))


def unescaped(text: str) -> bytes:
    """The bytes that a logged text stands for."""
    return _ESCAPE.sub(_byte, text.encode("utf-8", "surrogateescape"))


def _byte(match: re.Match[bytes]) -> bytes:
    if match[3]:
        return _LETTERS.get(match[3], match[3])
    return bytes([int(match[1] or match[2], 16)])


def plain_text(text: str) -> str:
    """A referrer or an agent as the client sent it."""
    return unescaped(text).decode("utf-8", "replace").replace("\0", "")


def spelled_target(text: str, *, escaped: bool = True) -> str:
    """The path and query of a request, of one in absolute form without scheme and
    host; empty where it has no path. `escaped`: the log has escapes of its own in it.
    """
    plain = unescaped(text) if escaped else text.encode("utf-8", "replace")
    text = quote_from_bytes(plain, safe=_KEPT)
    absolute = _ABSOLUTE.match(text)
    if absolute and text[:4].lower() == "http":
        text = text[absolute.end() :]
        text = text if text.startswith("/") else f"/{text}"
    return text if text.startswith("/") else ""
