"""Access logs of anything: an import ends with a count of every line, or with an error
that the command says; it needs memory and time for what it reads, whatever that says.
"""

from __future__ import annotations

import gzip
import tempfile
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldlog.importers.import_log import DamagedInput
from foldlog.importers.outcome import Imported, summary
from shared.segments.line import line_error
from shared.segments.sealed import open_segment, sealed_segments
from shared.settings import Settings
from tests.builders.access_logs import import_logs, take_apart
from tests.builders.corpus import corpus, kept_if_it_fails
from tests.builders.logs import data_directory

NAME = "import"
MIB = 1 << 20
GOOD = b'203.0.113.9 - - [22/Nov/2026:12:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 512 "https://b/" "Mozilla/5.0"\n'
PIECES = [
    *(b"[", b"]", b'"', b" ", b"\\", b'" 200 1', b"- -", b"GET /", b"POST /", b"22/Nov/2026:12:00:00 +0000", b"\n"),
    *(
        b"31/Dec/9999:23:59:59 -2359",
        b"01/Jan/0001:00:00:00 +2359",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\x1b[31m",
        b"\r",
    ),
    *(b" [", b"-" * 90, b"x" * 9_000, b"200", b"\xe2\x80\xae", b"\xc4\xb0", b"%00", b"http://"),
]
lines = st.lists(st.sampled_from([GOOD, *PIECES]) | st.binary(max_size=30), max_size=12).map(b"".join)
changed = st.builds(
    lambda at, end, by: GOOD[: min(at, end)] + by + GOOD[max(at, end) :],
    st.integers(0, len(GOOD)),
    st.integers(0, len(GOOD)),
    st.sampled_from(PIECES) | st.binary(max_size=8),
)
logs = st.lists(lines | changed, max_size=4).map(b"".join)


def try_one(content: bytes, *, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / ("access.log.gz" if packed else "access.log")
        file.write_bytes(content)
        data = data_directory(Path(root) / "data")
        done, events = Imported(), 0
        with suppress(DamagedInput):
            settings = Settings(data_dir=data.root, disk_reserve=0, durability="os")
            done = import_logs(data, file, settings=settings, format_="combined")
            assert summary(done)[0].startswith(f"{done.lines} lines: ")
            assert done.lines == done.events + sum(each.lines for each in done.reasons.values())
            if not packed:
                assert done.lines == content.count(b"\n")
        for segment in sealed_segments(data):
            with open_segment(segment.path) as written:
                for each in written:
                    assert line_error(each) is None
                    events += 1
        assert events == done.events or packed


def test_kept_logs_are_imported_or_refused_with_a_reason() -> None:
    for content in corpus(NAME):
        try_one(content, packed=content.startswith(b"\x1f\x8b"))


@given(logs)
def test_any_log_is_imported_line_by_line(content: bytes) -> None:
    with kept_if_it_fails(NAME, content):
        try_one(content, packed=False)


@pytest.mark.long
@given(logs, st.integers(0, 400), st.binary(max_size=4))
def test_any_damage_to_a_compressed_log_is_an_error_that_says_so(content: bytes, at: int, by: bytes) -> None:
    whole = gzip.compress(content, mtime=0)
    damaged = whole[:at] + by + whole[at + len(by) :]
    with kept_if_it_fails(NAME, damaged):
        try_one(damaged, packed=True)


def test_lines_before_the_damage_are_imported(tmp_path: Path) -> None:
    file = tmp_path / "access.log.gz"
    file.write_bytes(gzip.compress(GOOD) + gzip.compress(b"x" * 5_000)[:-9])
    data = data_directory(tmp_path / "data")
    with pytest.raises(DamagedInput, match="1 events were appended"):
        import_logs(data, file)
    (segment,) = sealed_segments(data)
    assert segment.path.read_bytes().count(b"\n") == 1


def test_file_without_newlines_does_not_have_to_fit_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "access.log.gz"
    file.write_bytes(gzip.compress(bytes(24 * MIB) + b"\n" + GOOD))
    data = data_directory(tmp_path / "data")
    tracemalloc.start()
    try:
        done = import_logs(data, file)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert (done.lines, done.events) == (2, 1)


def test_line_of_brackets_costs_what_its_bytes_cost() -> None:
    seconds = {}
    for name, piece in {"letters": " x", "brackets": " ["}.items():
        begun = time.process_time()
        assert take_apart(f"a - x{piece * (MIB // 2)}", "combined").events == []
        seconds[name] = time.process_time() - begun
    # A hundred thousand times, if each bracket cost the rest of the line.
    assert seconds["brackets"] < 100 * seconds["letters"] + 0.5
