"""Whether a line or a record belongs to a visitor. Pure: bytes in, LineMatch out.

A line belongs to the visitor if its field `visitor` equals the id exactly. The same
text in another field of another visitor's event (a URL, a property) is a mention:
mentions are counted so that the operator can be informed, and are kept.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

# Shorter ids occur in too many unrelated texts.
MENTION_MIN = 6
# Characters that JSON never escapes.
_PLAIN = re.compile(rb"[A-Za-z0-9_.@:+=-]+")
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")


class LineMatch(NamedTuple):
    """How a line relates to a visitor. At most one of the flags is true.

    `matches`: the line is the visitor's, on a requested site. `other_site`: the
    visitor's, on another site. `mention`: another visitor's, with the id in some field.
    `received` is the time stamp of a line that matches.
    """

    matches: bool = False
    other_site: bool = False
    mention: bool = False
    received: str | None = None


_NO_MATCH = LineMatch()


class VisitorFilter(NamedTuple):
    """A visitor id, and the one site to search, or None for all sites."""

    visitor: str
    site: str | None

    @property
    def prefilter(self) -> bytes:
        """Bytes that every line of this visitor contains: the longest run that JSON
        does not escape. A line without them need not be decoded.
        """
        return max(_PLAIN.findall(self.visitor.encode("utf-8")), key=len, default=b"")

    @property
    def finds_mentions(self) -> bool:
        return len(self.visitor) >= MENTION_MIN

    def match(self, line: bytes) -> LineMatch:
        """In a line that no longer parses, any occurrence of the id counts as a
        match.
        """
        if self.prefilter not in line:
            return _NO_MATCH
        try:
            event = msgspec.json.decode(line)
            is_visitor, site = event.get("visitor") == self.visitor, event.get("site")
        except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
            return LineMatch(matches=self.visitor.encode("utf-8") in line or self.visitor in _unescape(line))
        if not is_visitor:
            return LineMatch(mention=self.finds_mentions and self.visitor in _texts(event))
        is_requested = self.site in {None, site}
        return LineMatch(matches=is_requested, other_site=not is_requested, received=event.get("received"))

    def matches_record(self, record: bytes) -> bool:
        """Whether a record of quarantine/ contains the visitor, in plain text or in the
        bad line that it keeps as base64.
        """
        with suppress(msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
            record = base64.b64decode(msgspec.json.decode(record).get("base64", ""))  # zeros have none
        return self.match(record).matches


def _unescape(line: bytes) -> str:
    """The text of a line that is not valid JSON, with its JSON escapes decoded."""
    return _ESCAPES.sub(lambda found: _decode_escapes(found[0]), line.decode("utf-8", "replace"))


def _decode_escapes(escapes: str) -> str:
    try:
        return str(msgspec.json.decode(f'"{escapes}"'))
    except msgspec.DecodeError:
        return escapes


def _texts(event: dict[str, Any]) -> str:
    """All texts of an event, one per line."""
    props = event.get("props")
    values = [*event.values(), *(props.values() if isinstance(props, dict) else ())]
    return "\n".join(value for value in values if isinstance(value, str))
