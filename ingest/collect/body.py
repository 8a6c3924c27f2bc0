"""The bytes of a body: inflated within a cap, and how deep their JSON is nested."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable
from itertools import accumulate

import zstandard

from ingest.http.problem import Problem

JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
MEDIA_TYPES = frozenset({JSON, NDJSON, TEXT})
ENCODINGS = frozenset({"gzip", "zstd"})

_ZSTD_WINDOW_MAX = 8 << 20
_RATIO_MAX = 200
_RATIO_FREE_BYTES = 64 << 10
_MEMBERS_MAX = 100
# A batch has 4 levels. Beyond 1,024, where parsers give up, a body is malformed.
DEPTH_MAX = 16
_DEPTH_MALFORMED = 1024
# +1 for an opening bracket, -1 (as a signed byte) for a closing one.
_STEPS = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{[}]"))


def inflate(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """The body as it was before Content-Encoding. Raises Problem 400 (damaged or cut
    short) or 413.
    """
    if not encoding:
        return body
    # Repetitive events compress to a hundredth. A higher ratio is that of a bomb.
    max_bytes = min(max_bytes, max(_RATIO_FREE_BYTES, _RATIO_MAX * len(body)))
    return _gunzip(body, max_bytes) if encoding == "gzip" else _unzstd(body, max_bytes)


def _inflated_too_large(max_bytes: int) -> Problem:
    return Problem(
        413,
        "too_large",
        f"the inflated body may have at most {max_bytes} bytes: the limit, or {_RATIO_MAX} times the size sent",
    )


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    plain = b""
    for _ in range(_MEMBERS_MAX):  # a gzip file may have several members
        member = zlib.decompressobj(wbits=31)
        try:
            plain += member.decompress(body, max_bytes + 1 - len(plain))
        except zlib.error:
            raise Problem(400, "malformed", "the gzip data is damaged") from None
        if len(plain) > max_bytes:
            raise _inflated_too_large(max_bytes)
        if not member.eof:
            raise Problem(400, "malformed", "the gzip data is cut short")
        body = member.unused_data
        if not body:
            return plain
    raise Problem(400, "malformed", f"the gzip data has more than {_MEMBERS_MAX} members")


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    try:
        frame = zstandard.get_frame_parameters(body)
        declared = frame.content_size if frame.content_size != zstandard.CONTENTSIZE_UNKNOWN else 0
        if declared > max_bytes or frame.window_size > _ZSTD_WINDOW_MAX:
            raise _inflated_too_large(max_bytes)
        return decompressor.decompress(body, max_output_size=max_bytes, allow_extra_data=False)
    except zstandard.ZstdError:
        # The library does not tell too large from cut short or damaged.
        if _inflates_past(decompressor, body, max_bytes):
            raise _inflated_too_large(max_bytes) from None
        raise Problem(400, "malformed", "the zstd data is damaged, cut short, or has bytes after it") from None


def _inflates_past(decompressor: zstandard.ZstdDecompressor, body: bytes, max_bytes: int) -> bool:
    try:
        return len(decompressor.stream_reader(body).read(max_bytes + 1)) > max_bytes
    except zstandard.ZstdError:
        return False


def check_depth(texts: Iterable[bytes]) -> None:
    """Raise Problem 422 `too_deep`, or 400 beyond 1,024 levels, if a text is nested
    deeper than DEPTH_MAX.

    Counted here rather than left to the parsers, whose limit depends on the version of
    Python. What decoded to events needs no check: their types have 4 levels.
    """
    deepest = max([depth(text) for text in texts if text.count(b"[") + text.count(b"{") > DEPTH_MAX], default=0)
    if deepest > _DEPTH_MALFORMED:
        raise Problem(400, "malformed", f"the body is nested deeper than {_DEPTH_MALFORMED} levels")
    if deepest > DEPTH_MAX:
        raise Problem(422, "too_deep", f"the body is nested deeper than {DEPTH_MAX} levels")


def depth(text: bytes) -> int:
    """How many objects and lists are open at most, outside of strings. Linear, and the
    text need not be valid JSON.
    """
    # Once escaped backslashes and quotes are removed, quotes only delimit strings:
    # every second piece is one.
    pieces = text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    steps = b"".join(pieces[::2]).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(array("b", steps)), default=0)
