"""Bodies: a damaged one is never inflated in part, a bomb takes no memory, and nesting
is counted the same on every Python.
"""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.body import DEPTH_MAX, check_depth, depth, inflate
from ingest.http.problem import Problem

MAX_BYTES = 64 << 10
BODY = b'{"events":[{"name":"one"},{"name":"two"}],"consent":"granted"}'


def problem(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        call()
    assert caught.value.detail
    return caught.value.status, caught.value.code


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def zstd_streamed(content: bytes) -> bytes:
    """Without the content's size, as a client that streams sends it."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(content) + compressor.flush()


def zstd_windowed(content: bytes, window_log: int) -> bytes:
    """Without the content's size, and with a window of 2^window_log bytes."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


GZIP = gzip.compress(BODY)
ZSTD = zstd(BODY)

INFLATED = {
    "as it is": (BODY, None),
    "gzip": (GZIP, "gzip"),
    "gzip in two members": (gzip.compress(BODY[:20]) + gzip.compress(BODY[20:]), "gzip"),
    "gzip with an empty member": (gzip.compress(b"") + GZIP, "gzip"),
    "gzip in 100 members": (gzip.compress(b"") * 99 + GZIP, "gzip"),
    "zstd with a window of 8 MiB": (zstd_windowed(BODY, 23), "zstd"),
    "zstd": (ZSTD, "zstd"),
    "zstd with a checksum": (zstandard.ZstdCompressor(write_checksum=True).compress(BODY), "zstd"),
    "zstd without content size": (zstd_streamed(BODY), "zstd"),
}


@pytest.mark.parametrize(("body", "encoding"), INFLATED.values(), ids=INFLATED)
def test_body_is_inflated(body: bytes, encoding: str | None) -> None:
    assert inflate(body, encoding, MAX_BYTES) == BODY


def _with_bit_flipped(body: bytes, position: int) -> bytes:
    damaged = bytearray(body)
    damaged[position] ^= 1
    return bytes(damaged)


DAMAGED = {
    "gzip without its trailer": (GZIP[:-8], "gzip"),
    "gzip without its last byte": (GZIP[:-1], "gzip"),
    "gzip cut in the middle": (GZIP[: len(GZIP) // 2], "gzip"),
    "gzip cut in its header": (GZIP[:5], "gzip"),
    "gzip with a wrong CRC": (_with_bit_flipped(GZIP, -8), "gzip"),
    "gzip with a wrong length": (_with_bit_flipped(GZIP, -1), "gzip"),
    "gzip that is plain JSON": (BODY, "gzip"),
    "gzip that is zlib": (zlib.compress(BODY), "gzip"),
    "gzip with bytes after it": (GZIP + b"{}", "gzip"),
    "gzip whose second member is cut short": (GZIP + GZIP[:-3], "gzip"),
    "gzip in 101 members": (gzip.compress(b"") * 100 + GZIP, "gzip"),
    "zstd in two frames": (ZSTD + ZSTD, "zstd"),
    "zstd without its last byte": (ZSTD[:-1], "zstd"),
    "zstd cut in the middle": (ZSTD[: len(ZSTD) // 2], "zstd"),
    "zstd cut in its header": (ZSTD[:3], "zstd"),
    "zstd streamed and cut": (zstd_streamed(BODY)[:-4], "zstd"),
    "zstd that is plain JSON": (BODY, "zstd"),
    "zstd that is gzip": (GZIP, "zstd"),
    "zstd with bytes after it": (ZSTD + b"{}", "zstd"),
    "zstd with a wrong checksum": (
        _with_bit_flipped(zstandard.ZstdCompressor(write_checksum=True).compress(BODY), -1),
        "zstd",
    ),
}


@pytest.mark.parametrize(("body", "encoding"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_compression_is_malformed(body: bytes, encoding: str) -> None:
    assert problem(lambda: inflate(body, encoding, MAX_BYTES)) == (400, "malformed")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_truncated_compressed_body_is_malformed_at_every_length(encoding: str) -> None:
    body = GZIP if encoding == "gzip" else zstd_streamed(BODY)
    for length in range(1, len(body)):
        assert problem(lambda: inflate(body[:length], encoding, MAX_BYTES)) == (400, "malformed"), length  # noqa: B023


BOMB = bytes(60 << 20)
BOMBS = {
    "gzip": (gzip.compress(BOMB), "gzip"),
    "gzip in many members": (gzip.compress(bytes(MAX_BYTES // 4)) * 5, "gzip"),
    "zstd that says its size": (zstd(BOMB), "zstd"),
    "zstd that does not": (zstd_streamed(BOMB), "zstd"),
}


@pytest.mark.parametrize(("body", "encoding"), BOMBS.values(), ids=BOMBS)
def test_bomb_is_too_large_and_uses_little_memory(body: bytes, encoding: str) -> None:
    tracemalloc.start()
    try:
        assert problem(lambda: inflate(body, encoding, MAX_BYTES)) == (413, "too_large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * MAX_BYTES


@pytest.mark.parametrize("content", [BODY, BOMB], ids=["small", "bomb"])
def test_zstd_with_a_huge_window_is_too_large(content: bytes) -> None:
    body = zstd_windowed(content, 27)
    assert zstandard.get_frame_parameters(body).window_size == 128 << 20
    assert problem(lambda: inflate(body, "zstd", MAX_BYTES)) == (413, "too_large")


@pytest.mark.parametrize("compress", [gzip.compress, zstd, zstd_streamed], ids=["gzip", "zstd", "zstd streamed"])
@pytest.mark.parametrize(
    ("size", "fits"), [(64 << 10, True), ((64 << 10) + 1, False), (1 << 20, False)], ids=["64 KiB", "more", "1 MiB"]
)
def test_body_beyond_64_kib_inflates_200_times_at_most(
    compress: Callable[[bytes], bytes], size: int, fits: bool
) -> None:
    body = compress(b" " * size)
    assert len(body) * 200 < size
    encoding = "gzip" if compress is gzip.compress else "zstd"
    if fits:
        assert len(inflate(body, encoding, 1 << 20)) == size
    else:
        assert problem(lambda: inflate(body, encoding, 1 << 20)) == (413, "too_large")


@pytest.mark.parametrize("compress", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_repetitive_events_inflate_up_to_the_limit(compress: Callable[[bytes], bytes]) -> None:
    """A batch of one page's events, told apart by their ids only, is the best that an
    honest client can shrink.
    """
    event = '{"name":"pageview","url":"https://www.example.com/products/shoes","visitor":"v-%016x","id":"%032x"}'
    plain = b"[%b]" % (",".join(event % (number % 7, number * 0x9E3779B97F4A7C15) for number in range(5000)).encode())
    assert inflate(compress(plain), "gzip" if compress is gzip.compress else "zstd", 1 << 20) == plain


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd, "zstd streamed": zstd_streamed}


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize(("size", "fits"), [(MAX_BYTES - 1, True), (MAX_BYTES, True), (MAX_BYTES + 1, False)])
def test_cap_while_inflating_is_exact(encoding: str, size: int, fits: bool) -> None:
    compress = COMPRESS[encoding]
    body = compress(b" " * size)
    if fits:
        assert len(inflate(body, encoding[:4], MAX_BYTES)) == size
    else:
        assert problem(lambda: inflate(body, encoding[:4], MAX_BYTES)) == (413, "too_large")


DEPTHS = {
    "nothing": (b"", 0),
    "a text": (b'"[[{"', 0),
    "a text with escaped quotes": (rb'"\"[[{"', 0),
    "a text that ends in a backslash": (rb'["\\",[]]', 2),
    "an object in a list": (b'[{"a":1},2]', 2),
    "brackets side by side": (b"[[],[],[]]", 2),
    "what never ends": (b'[[{"a":[', 4),
    "a text that never ends": (b'[["[[[', 2),
}


@pytest.mark.parametrize(("text", "expected"), DEPTHS.values(), ids=DEPTHS)
def test_depth_is_counted_outside_of_texts(text: bytes, expected: int) -> None:
    assert depth(text) == expected


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


TOO_DEEP, MALFORMED = (422, "too_deep"), (400, "malformed")


@pytest.mark.parametrize("nested", [arrays, objects])
@pytest.mark.parametrize(
    ("levels", "expected"), [(DEPTH_MAX + 1, TOO_DEEP), (1024, TOO_DEEP), (1025, MALFORMED), (100_000, MALFORMED)]
)
def test_text_deeper_than_16_levels_is_rejected(
    nested: Callable[[int], bytes], levels: int, expected: tuple[int, str]
) -> None:
    assert depth(nested(levels)) == levels
    assert problem(lambda: check_depth([b"{}", nested(levels)])) == expected


@pytest.mark.parametrize("nested", [arrays, objects])
def test_16_levels_and_any_number_of_brackets_pass(nested: Callable[[int], bytes]) -> None:
    check_depth([])
    check_depth([nested(DEPTH_MAX), b"[%b]" % b",".join([nested(DEPTH_MAX - 1)] * 1000), b'"%b"' % (b"[" * 2000)])


JSON_TEXTS = st.recursive(
    st.none() | st.integers() | st.text('[]{}\\"a', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\', max_size=3), inner, max_size=3),
    max_leaves=12,
)


def levels_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels_of, inner), default=0)


@given(JSON_TEXTS)
def test_depth_of_any_json_is_that_of_its_value(value: object) -> None:
    assert depth(json.dumps(value).encode()) == levels_of(value)


@pytest.mark.parametrize("piece", [b"[", b"[]", b'"', b'\\"', b"\\"])
def test_depth_is_counted_in_linear_time(piece: bytes) -> None:
    """The cost of eight times as much is nearer to 8 times as high than to 64."""

    def cost(size: int) -> float:
        started = time.process_time()
        depth(piece * size)
        return time.process_time() - started

    depth(piece)
    assert cost(1 << 20) < 32 * max(cost(1 << 17), 0.01)
