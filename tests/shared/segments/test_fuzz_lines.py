"""Segments of anything: every byte is in the sealed segment or in quarantine, in order,
the count of lines is right, what is sealed is valid, and a pass accounts for all of it
(P2, P8).
"""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.process import compact_once
from ingest.collect.encode import encode_lines
from shared.generations.load import load_snapshot
from shared.segments.line import DataFromNewerVersion, append_crc, iter_lines, line_error, scan_lines
from shared.segments.recovery import recover
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from tests.builders.corpus import corpus, kept_if_it_fails
from tests.builders.logs import data_directory, line
from tests.builders.silent_log import SilentLog

NAME = "lines"
GOOD = [encode_lines([line(f"event-{number}", props={"k": "x" * number})]) for number in range(4)]
PASSES_OF = 10  # one in so many examples is folded: a pass takes a hundred times as long

cut = st.builds(lambda whole, at: whole[: at % len(whole)], st.sampled_from(GOOD), st.integers(0, 1_000))
flipped = st.builds(
    lambda whole, at, by: whole[: at % len(whole)] + bytes([by]) + whole[at % len(whole) + 1 :],
    st.sampled_from(GOOD),
    st.integers(0, 1_000),
    st.integers(0, 255),
)
# A good CRC over what no writer writes.
sealed_nonsense = st.builds(
    lambda version, rest: append_crc(b'{"v":%b,' % version, [rest]),
    st.sampled_from([b"1", b"2", b"0", b"", b"-1", b"2e0", b"1" * 5_000, b'"2"']),
    st.binary(max_size=40) | st.just(b'"id":"event-0"') | st.just(b'"time":"9999-12-31T23:59:59.999Z"'),
)
odd = st.sampled_from([b"\n", b"\n\n", b"\r\n", b"\0" * 40, b'{"v":2,', b'{"v":3,"id":1}\n', b'{"v":' * 30, b"}\n"])
segments = st.lists(
    st.sampled_from(GOOD) | cut | flipped | sealed_nonsense | odd | st.binary(max_size=60), max_size=8
).map(b"".join)


def is_of_newer_version(content: bytes) -> bool:
    try:
        list(scan_lines(iter_lines(io.BytesIO(content))))
    except DataFromNewerVersion:
        return True  # nothing of it is read, on purpose
    return False


def try_one(content: bytes, *, fold: bool) -> None:
    with tempfile.TemporaryDirectory() as root:
        data = data_directory(Path(root))
        data.active("0").write_bytes(content)
        if is_of_newer_version(content):
            with pytest.raises(DataFromNewerVersion):
                recover(data, "0")
            return
        recovered = recover(data, "0")
        assert recovered is not None
        sealed = b"".join(segment.path.read_bytes() for segment in sealed_segments(data))
        kept = [
            orjson.loads(row) for path in data.quarantine.glob("*.ndjson") for row in path.read_bytes().splitlines()
        ]
        assert (recovered.lines, recovered.quarantined) == (sealed.count(b"\n"), len(kept))
        assert all(line_error(each + b"\n") is None for each in sealed.split(b"\n")[:-1])
        assert _put_together(sealed, kept) == content
        if fold:
            compact_once(data, Settings(data_dir=data.root), SilentLog())
            totals = load_snapshot(data).totals
            assert totals.lines == totals.accounted == recovered.lines
            assert read_status(data, Settings(data_dir=data.root)).balance.difference == 0


def _put_together(sealed: bytes, kept: list[dict[str, object]]) -> bytes:
    """What is quarantined at its offsets, and between it what is sealed."""
    made, rest = b"", sealed
    for row in sorted(kept, key=lambda row: int(str(row["offset"]))):
        bad, offset = base64.b64decode(str(row["base64"])), int(str(row["offset"]))
        between, rest = rest[: offset - len(made)], rest[offset - len(made) :]
        made += between + bad
    return made + rest


def test_kept_segments_are_sealed_quarantined_and_folded_in_balance() -> None:
    for content in corpus(NAME):
        try_one(content, fold=True)


@given(segments)
def test_any_segment_is_sealed_or_quarantined_in_balance(content: bytes) -> None:
    with kept_if_it_fails(NAME, content):
        try_one(content, fold=False)


@given(segments)
@settings(max_examples=max(settings.default.max_examples // PASSES_OF, 5) if settings.default else 5)
def test_any_segment_is_folded_in_balance(content: bytes) -> None:
    with kept_if_it_fails(NAME, content):
        try_one(content, fold=True)
