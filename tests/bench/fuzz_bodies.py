"""What is fuzzed: bodies with the two headers that say how they are written, and those
to begin with.

An input of the fuzzer is one byte that chooses the headers, then the body as it is
sent.
"""

from __future__ import annotations

import gzip
import struct
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import zstandard

# One body on its way to whoever posts it: index in FORMS, the status that is expected,
# how many events (-1 where neither is to be compared), length of the body.
FRAME = struct.Struct("<BHiI")

# Content-Type and Content-Encoding; an empty one is not sent.
FORMS = [
    *[
        (media, encoding)
        for media in ("application/json", "application/x-ndjson", "text/plain")
        for encoding in ("", "gzip", "zstd")
    ],
    ("text/plain;charset=UTF-8", ""),
    ("Application/JSON; charset=utf-8", "GZIP"),
    ("application/json; charset=iso-8859-1", ""),
    ("text/html", ""),
    ("application/json", "br"),
    ("", ""),
]
SENSIBLE = 9  # of these, the first


def first_bodies(now_ms: int) -> Iterator[tuple[int, bytes]]:
    """(index in FORMS, body): valid ones in every form, and rows of bad ones."""
    for media, plains in ((0, _batches(now_ms)), (3, _ndjson(now_ms)), (6, _batches(now_ms))):
        for plain in plains:
            yield media, plain
            yield media + 1, pack(plain, "gzip")
            yield media + 2, pack(plain, "zstd")
    batch = _batches(now_ms)[1]
    for form in range(SENSIBLE, len(FORMS)):
        yield form, pack(batch, FORMS[form][1].lower())
    yield from ((1, body) for body in _odd_gzip(batch))
    yield from ((2, body) for body in _odd_zstd(batch))


def _events(now_ms: int) -> list[dict[str, object]]:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()
    return [
        {"name": "pageview"},
        {
            "name": "signup",
            "id": "0192a1b2c3d4e5f6",
            "visitor": "v00000017",
            "session": "s-1",
            "props": {"plan": "pro", "step": 3},
        },
        {
            "name": "buy",
            "time": now_ms - 1000,
            "value": 19.99,
            "url": "https://example.com/a?b=c#d",
            "referrer": "http://x.org/",
        },
        {
            "name": "späť 😀",
            "time": moment,
            "props": {"a": None, "b": True, "c": 1e20, "d": -(2**53) + 1, "": "x" * 30},
        },
        {"name": "late", "time": now_ms - 71 * 3_600_000, "visitor": "\x7f", "id": None, "props": {}},
        {"name": "early", "time": now_ms + 3_600_000, "props": {f"key{number}": number for number in range(31)}},
        {"name": "\u2067x", "visitor": "undefined", "unknown": [[{}]]},
    ]


def _batches(now_ms: int) -> list[bytes]:
    events = _events(now_ms)
    return [
        orjson.dumps({"events": events[:1]}),
        orjson.dumps({"events": events[:4], "sent_at": now_ms, "consent": "granted"}),
        orjson.dumps({"consent": None, "sent_at": "2026-11-22T10:00:00+01:00", "events": events}),
        orjson.dumps({"events": events[:5]}, option=orjson.OPT_INDENT_2),
        *[orjson.dumps({"events": [event]}) for event in events[1:]],
        orjson.dumps({"events": [{"name": "n", "url": "https://example.com/" + "p" * 1900}] * 20}),
        orjson.dumps({"events": [{"name": "n", "props": {f"p{number}": "x" * 1900 for number in range(20)}}]}),
        orjson.dumps({"events": events[:1] * 501}),
        orjson.dumps(events),
        b'{"events":[{"name":"a","name":"b"}],"events":[{"name":"c"}]}',
        b'{"events":[{"name":"a","props":{"k":1,"k":2}},{"name":"b"}]}',
        b'{"events":[{"name":"a","props":{"k":' + b"[" * 300 + b"]" * 300 + b"}}]}",
        b'{"events":[{"name":"\\ud800"}]}',
        b'{"events":[{"name":"\xff"}]}',
        b'{"events":[],"consent":"denied"}',
        b"",
        b"null",
    ]


def _ndjson(now_ms: int) -> list[bytes]:
    lines = [orjson.dumps(event) for event in _events(now_ms)]
    return [
        lines[0],
        b"\n".join(lines) + b"\n",
        b"\r\n".join(lines[:3]),
        b"\n\n" + lines[1] + b"\n \n",
        b"\n".join([*lines, b"{"]),
    ]


def _odd_gzip(plain: bytes) -> list[bytes]:
    whole = pack(plain, "gzip")
    return [
        pack(plain[:20], "gzip") + pack(plain[20:], "gzip"),
        whole[:-1],
        whole + b"{}",
        gzip.compress(bytes(1 << 20)),
        pack(b"", "gzip") * 50,
    ]


def _odd_zstd(plain: bytes) -> list[bytes]:
    whole = zstandard.ZstdCompressor(write_checksum=True).compress(plain)
    streamed = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 20))
    return [whole, whole[:-1], whole + b"{}", streamed, zstandard.ZstdCompressor().compress(bytes(1 << 20))]


def write_first(directory: Path) -> int:
    """Write them as files for the fuzzer. Returns how many."""
    directory.mkdir()
    made = {bytes([form]) + body for form, body in first_bodies(int(time.time() * 1000))}
    for number, data in enumerate(sorted(made)):
        (directory / f"{number:04d}").write_bytes(data)
    return len(made)


def split(data: bytes) -> tuple[int, bytes]:
    """(index in FORMS, body) of an input of the fuzzer."""
    return (data[0] % len(FORMS), data[1:]) if data else (0, b"")


def pack(plain: bytes, encoding: str) -> bytes:
    """A body in its encoding."""
    if encoding == "gzip":
        compressor = zlib.compressobj(1, wbits=31)
        return compressor.compress(plain) + compressor.flush()
    return _ZSTD.compress(plain) if encoding == "zstd" else plain


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """The body without its encoding; None if it is damaged, or larger than that."""
    try:
        if encoding == "gzip":
            inflater = zlib.decompressobj(wbits=31)
            plain = inflater.decompress(body, max_bytes)
            return plain if inflater.eof else None
        if encoding == "zstd":
            if zstandard.frame_content_size(body) > max_bytes:
                return None
            return zstandard.ZstdDecompressor(max_window_size=1 << 20).decompress(body, max_bytes)
    except (zlib.error, zstandard.ZstdError):
        return None
    return body if len(body) <= max_bytes else None


_ZSTD = zstandard.ZstdCompressor(1)
