"""Exports of anything: an import ends with a count of every row, or with an error that
the command says; what was appended is whole, can be folded, and is the same when the
file is imported again.
"""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldlog.importers.exports.kinds import NAMES
from foldlog.importers.exports.limits import BrokenExport
from foldlog.importers.import_log import DamagedInput
from foldlog.importers.outcome import Imported, summary
from shared.segments.line import line_error
from shared.segments.sealed import open_segment, sealed_segments
from shared.timestamps import now_ms
from tests.builders.corpus import corpus, kept_if_it_fails
from tests.builders.exports import GA4, GOATCOUNTER_1, GOATCOUNTER_2, UMAMI, action, hit, import_exports, table, view
from tests.builders.exports import visit as a_visit
from tests.builders.logs import data_directory, fold_all

NAME = "exports"
FOLDED = 20  # one in so many: a fold costs what ten imports do
WHOLE = (
    table(GOATCOUNTER_1, [hit(), hit("/b", 2, Event="true")]).encode(),
    table(GOATCOUNTER_2, [hit(), hit("/b", 2, Bot="1")]).encode(),
    table(UMAMI, [view(1), view(2, event_type="2", event_name="x")]).encode(),
    json.dumps([a_visit(1, [action(1), action(2, "event", eventAction="e", eventValue=1)])]).encode(),
    b'"date","visitors","pageviews"\n"2026-01-01",1,2\n',
    GA4.encode(),
)
PIECES = (
    *(b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b"\\", b"\xef\xbb\xbf", b"#"),
    *(b"9" * 400, b"-", b"1e999", b"\\ud800", b"\x1b[2J", b"\xe2\x80\xae", b"x" * 9_000, b"null", b"true", b"\xff\xfe"),
    *(b"9999-12-31T23:59:59Z", b"0001-01-01 00:00:00", b"https://", b"http://[", b"\\N", b"PK\x03\x04", b"\x1f\x8b"),
)


def changed(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    def change(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for at, length, by in changes:
            place = at % (len(content) + 1)
            content = content[:place] + by + content[place + length :]
        return content

    one = st.tuples(st.integers(0, 5_000), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=6))
    return st.builds(change, whole, st.lists(one, max_size=4))


exports = changed(st.sampled_from(WHOLE))


def zipped(content: bytes, name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return made.getvalue()


def try_one(content: bytes, format_: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        file = root / "export"
        file.write_bytes(content)
        first = appended(root, file, format_)
        assert Counter(appended(root, file, format_)) == Counter(first * 2)
        if first and zlib.crc32(content) % FOLDED == 0:
            totals = fold_all(data_directory(root / "data"), now_ms()).snapshot.totals
            assert (totals.lines, totals.counted, totals.quarantined) == (2 * len(first), len(set(first)), 0)


def appended(root: Path, file: Path, format_: str) -> list[str]:
    """The ids of all events after an import, those of earlier ones as well."""
    done = Imported()
    try:
        done = import_exports(root, file, format_=format_)
        assert summary(done)[0].startswith(f"{done.lines} lines: ")
        assert done.lines == done.events + sum(each.lines for each in done.reasons.values())
    except (BrokenExport, DamagedInput) as error:
        assert str(file) in str(error)
    ids = []
    for segment in sealed_segments(data_directory(root / "data")):
        with open_segment(segment.path) as written:
            for each in written:
                assert line_error(each) is None
                ids.append(json.loads(each)["id"])
    return ids


def format_of(content: bytes) -> str:
    return NAMES[len(content) % len(NAMES)]


def test_kept_exports_are_imported_or_refused_with_a_reason() -> None:
    for content in corpus(NAME):
        for format_ in NAMES:
            try_one(content, format_)


@given(exports)
def test_any_export_is_imported_row_by_row_or_refused(content: bytes) -> None:
    with kept_if_it_fails(NAME, content):
        try_one(content, format_of(content))


@pytest.mark.long
@given(
    exports, st.sampled_from(["website_event.csv", "imported_pages.csv", "a.csv", "../b.json"]), st.integers(0, 10**6)
)
def test_any_damage_to_a_packed_export_is_an_error_that_says_so(content: bytes, name: str, seed: int) -> None:
    packed = bytearray(zipped(content, name) if seed % 3 else gzip.compress(content, mtime=0))
    packed[seed % len(packed)] ^= 1 << seed % 8
    with kept_if_it_fails(NAME, bytes(packed)):
        try_one(bytes(packed), format_of(content))
