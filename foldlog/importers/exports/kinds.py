"""Which tool a file is an export of: by how it begins, or by the members of a zip."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from foldlog.importers.decompress import pieces
from foldlog.importers.exports import archive, umami
from shared.disk.compression import DecompressionError

GOATCOUNTER, UMAMI, MATOMO, PLAUSIBLE, GA4 = NAMES = ("goatcounter", "umami", "matomo", "plausible", "ga4")
ZIP = "zip"
TOOLS = {GOATCOUNTER: "GoatCounter", UMAMI: "Umami", MATOMO: "Matomo", PLAUSIBLE: "Plausible", GA4: "Google Analytics"}
HEAD_BYTES = 4096
_BOM = b"\xef\xbb\xbf"
_GOATCOUNTER = re.compile(rb'"?[0-9]{1,3}Path"?,')
_PLAUSIBLE = re.compile(rb'"?date"?,[^\n]*"?visitors"?')
# Dashes, then comments of which one ends with a day, such as `# Start date: 20260101`.
_GA4 = re.compile(rb"# ?-{10}[^\n]*\n(?:#[^\n]*\n){0,12}#[^\n]*[^0-9\n][0-9]{8}\s*\n")
_TABLE = re.compile(
    r"(?:imported_)?(visitors|sources|pages|entry_pages|exit_pages|custom_events|locations|devices|browsers|"
    r"operating_systems)(?:_[0-9]{8}_[0-9]{8})?\.csv"
)
# What other exports of these tools have in them, which are sums, too.
_SUMS_OF_GOATCOUNTER = "hit_stats.jsonl"
_SUMS_OF_UMAMI = ("events.csv", "pages.csv", "referrers.csv")


def kind_of(raw: BinaryIO) -> str | None:
    """One of NAMES, ZIP, or None for anything else, such as an access log. Nothing is
    taken from the file.
    """
    peek = getattr(raw, "peek", None)
    head: bytes = peek(HEAD_BYTES)[:HEAD_BYTES] if peek is not None else b""
    if head.startswith((archive.MAGIC, archive.EMPTY_MAGIC)):
        return ZIP
    return kind_of_text(beginning(pieces(io.BytesIO(head))))


def beginning(text: Iterator[bytes]) -> bytes:
    """The first HEAD_BYTES or more of a text, or all that can be read of it."""
    found = b""
    with suppress(DecompressionError):
        for piece in text:
            found += piece
            if len(found) >= HEAD_BYTES:
                break
    return found


def kind_of_text(head: bytes) -> str | None:
    """One of NAMES, or None, for a text that begins so."""
    text = head[: 4 * HEAD_BYTES].removeprefix(_BOM)
    first = text.partition(b"\n")[0]
    if _GOATCOUNTER.match(first):
        return GOATCOUNTER
    if all(name in first for name in (b"event_id", b"session_id", b"url_path")):
        return UMAMI
    if text.lstrip()[:1] in (b"[", b"{") and b'"idVisit"' in text:
        return MATOMO
    if _GA4.match(text):
        return GA4
    return PLAUSIBLE if _PLAUSIBLE.match(first) else None


def kind_of_members(members: list[str]) -> tuple[str, list[str]] | None:
    """Whose archive it is, and the members that are read; None for any other."""
    if umami.MEMBER in members:
        return UMAMI, [umami.MEMBER]
    if tables := sorted(filter(_TABLE.fullmatch, members)):
        return PLAUSIBLE, tables
    return None


def sums_of_members(members: list[str]) -> str | None:
    """The tool whose other export this is, which has sums alone."""
    if _SUMS_OF_GOATCOUNTER in members:
        return GOATCOUNTER
    return UMAMI if all(name in members for name in _SUMS_OF_UMAMI) else None


def table_of(member: str) -> str:
    """`imported_pages` of `imported_pages_20230209_20240123.csv`."""
    match = _TABLE.fullmatch(member)
    return f"imported_{match[1]}" if match else member
