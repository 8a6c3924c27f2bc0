"""Erasing one visitor: afterwards no file holds the id, all other events still count,
and a crash only delays it.
"""

from __future__ import annotations

import base64
import errno
import gzip
import json
import lzma
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import duckdb
import pytest

from compactor.context import PassContext
from compactor.erasure import footprint
from compactor.erasure.rewrite import preview_erasure
from compactor.erasure.visitor_filter import VisitorFilter
from compactor.process import compact_once
from compactor.repair.rebuild import rebuild
from compactor.repair.rotated_files import recover_rotated_files
from compactor.repair.verify import verify as verify_directory
from compactor.summary.summarize import with_summary
from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.compression import compressing
from shared.disk.durable import make_data_directory
from shared.disk.layout import TEMP_SUFFIX, DataDirectory
from shared.duckdb_engine import connect, one_number
from shared.erasures import (
    ErasureCompleted,
    ErasureRequest,
    ErasureStarted,
    create_request,
    pending_requests,
    read_records,
)
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.timestamps import epoch_ms, now_ms
from tests.builders.erasure import VISITOR, erase, files_with
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.server import environment, lines_of, verify
from tests.builders.silent_log import SilentLog
from tests.faults.crash import crashes, make_tree
from tests.faults.record import Recorder

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """Three days of five visitors, one of whom will be erased, in plain and compressed
    segments.
    """
    data = data_directory(tmp_path_factory.mktemp("filled") / "data")
    for day in range(3):
        noon = NOON - (2 - day) * DAY_MS
        for segment in range(2):
            visitors = [VISITOR, "b", "c", "d", "e"]
            ids = [(f"{day}-{segment}-{n:02d}-event", visitors[n % 5]) for n in range(20)]
            lines = [
                line(id_, noon + n * 1000, visitor=who, url=f"https://example.com/{who[:1]}/{n}")
                for n, (id_, who) in enumerate(ids)
            ]
            sealed(data, [*lines, lines[0]])
            fold(data, noon + 3_600_000)
    plain = [segment.path for segment in sealed_segments(data)]
    for path, suffix in zip(plain, (".gz", ".zst"), strict=False):
        with compressing(path.with_name(path.name + suffix), suffix) as write:
            write(path.read_bytes())
        path.unlink()
    return data


@pytest.fixture
def data(filled: DataDirectory, tmp_path: Path) -> Iterator[DataDirectory]:
    """A copy of it, which must verify after the test."""
    data = DataDirectory(shutil.copytree(filled.root, tmp_path / "data"))
    yield data
    verify(data, environment(data.root))


@pytest.fixture(scope="module")
def erased(
    filled: DataDirectory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DataDirectory, ErasureRequest]]:
    """A copy of which the visitor is erased, and the request; tests only read it."""
    data = DataDirectory(shutil.copytree(filled.root, tmp_path_factory.mktemp("erased") / "data"))
    request = create_request(data, VISITOR, None)
    erase(data)
    yield data, request
    verify(data, environment(data.root))


Erased = tuple[DataDirectory, ErasureRequest]


def test_no_file_holds_the_visitor(filled: DataDirectory, erased: Erased) -> None:
    data, _ = erased
    assert len(files_with(filled)) >= 6 + 3  # the search finds the visitor in segments and parts
    assert files_with(data) == []
    assert pending_requests(data) == []


def test_others_count_as_before(filled: DataDirectory, erased: Erased) -> None:
    data, _ = erased
    before, after = load_snapshot(filled).totals, load_snapshot(data).totals
    assert (after.counted, after.erased) == (before.counted - 24, 24)
    assert after.lines == after.accounted == before.lines
    with closing(connect(64 << 20, 1)) as database:
        paths = [str(path) for path in data.archive.rglob("*.parquet")]
        rows = database.execute(
            "SELECT visitor, count(*) FROM read_parquet($1) GROUP BY ALL ORDER BY ALL", [paths]
        ).fetchall()
    assert rows == [("b", 24), ("c", 24), ("d", 24), ("e", 24)]


def test_record_has_counts_and_hashes_only(erased: Erased) -> None:
    data, request = erased
    begun, done = read_records(data)
    assert isinstance(begun, ErasureStarted) and isinstance(done, ErasureCompleted)
    assert (begun.request, begun.events, begun.days, begun.lines, begun.segments) == (request.request, 24, 3, 30, 6)
    names = [file.file for file in begun.files]
    assert len([name for name in names if name.startswith("log/")]) == 6
    assert {file.file for file in done.files if file.file.startswith("log/")} == {
        n for n in names if n.startswith("log/")
    }
    assert {file.sha256 for file in begun.files}.isdisjoint({file.sha256 for file in done.files})
    assert VISITOR not in data.erasures.read_text("ascii")


def test_rebuild_does_not_restore_the_visitor(data: DataDirectory) -> None:
    create_request(data, VISITOR, None)
    erase(data)

    changes = rebuild(data, Settings(data_dir=data.root), SilentLog(), NOON + 8_000_000, dry_run=False)

    assert not any(change.changed for change in changes)
    assert files_with(data) == []


@pytest.mark.long
def test_damaged_snapshot_does_not_restore_the_visitor(data: DataDirectory) -> None:
    create_request(data, VISITOR, None)
    erase(data)
    data.snapshot.write_bytes(data.snapshot.read_bytes()[:-20])

    fold(data, NOON + 8_000_000)

    assert load_snapshot(data).totals.erased == 24
    assert [path.name for path in data.quarantine.iterdir()] != []
    assert files_with(data) == []


def test_only_the_requested_site_is_erased(data: DataDirectory) -> None:
    sealed(data, [line("shop-event-1", NOON, visitor=VISITOR, site="shop.example.com")])
    fold(data, NOON + 7_100_000)

    create_request(data, VISITOR, "shop.example.com")
    erase(data)

    begun = next(read_records(data))
    assert isinstance(begun, ErasureStarted)
    assert (begun.site, begun.events, begun.other_sites) == ("shop.example.com", 1, 24)
    assert load_snapshot(data).totals.erased == 1
    assert len(files_with(data)) >= 6


@pytest.mark.long
def test_mentions_are_reported_and_kept(data: DataDirectory) -> None:
    sealed(
        data,
        [
            line("mention-1", NOON, visitor="b", props={"ref": VISITOR}),
            line("mention-2", NOON, visitor=None, url=f"https://example.com/?v={VISITOR}"),
        ],
    )
    fold(data, NOON + 7_100_000)

    create_request(data, VISITOR, None)
    erase(data)

    begun = next(read_records(data))
    assert isinstance(begun, ErasureStarted) and (begun.events, begun.mentions) == (24, 2)


def leave_bad_lines(data: DataDirectory) -> None:
    """An active segment of a killed writer: a good line, and two damaged ones, of the
    visitor and of another.
    """
    lines = [
        encode_lines([line(f"left-by-{who}", NOON, visitor=who, url="https://example.com/left")])
        for who in ("d", VISITOR, "e")
    ]
    data.active("7").write_bytes(lines[0] + b"".join(bad.replace(b"/left", b"/LEFT") for bad in lines[1:]))


def test_quarantine_holds_no_trace(data: DataDirectory) -> None:
    leave_bad_lines(data)
    fold(data, NOON + 7_100_000)
    assert [path for path in files_with(data) if path.startswith("quarantine/")] != []

    create_request(data, VISITOR, None)
    erase(data)

    assert files_with(data) == []
    kept = [
        json.loads(record) for path in data.quarantine.glob("*.ndjson") for record in path.read_bytes().splitlines()
    ]
    assert [record["reason"] for record in kept] == ["the CRC does not match"]  # the line of the other visitor


@pytest.mark.long
def test_day_without_an_archive_keeps_its_counters(data: DataDirectory) -> None:
    later = NOON + 20 * DAY_MS
    for hours in range(0, 12 * 24, 24):  # a steady clock, so that retention runs
        fold(data, NOON + 7_200_000 + hours * 3_600_000, archive_retention_days=7)
    assert all(kept.expired for kept in load_snapshot(data).days.values())

    create_request(data, VISITOR, None)
    erase(data, later)

    assert load_snapshot(data).totals.erased == 0  # their archive has expired; counters hold no ids
    assert files_with(data) == []


@pytest.mark.parametrize(
    "visitor",
    [*("ü-ñ-名前-\u202e-x", '"quoted\\"'), *(pytest.param(each, marks=pytest.mark.long) for each in ("1", "a b"))],
)
def test_any_id_is_found(tmp_path: Path, visitor: str) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-of-them", NOON, visitor=visitor), line("event-of-others", NOON, visitor="x" + visitor)])
    fold(data, NOON + 1000)

    assert preview_erasure(data, Settings(data_dir=data.root), VisitorFilter(visitor, None)).lines == 1
    create_request(data, visitor, None)
    erase(data)

    assert load_snapshot(data).totals.counted == 1
    assert lines_of(data)[0]["visitor"] == "x" + visitor
    verify(data, environment(data.root))


def test_open_segment_that_holds_the_visitor_delays_it(data: DataDirectory) -> None:
    writer = ActiveSegment(data, "9", 1, "fsync")
    writer.commit(encode_lines([line("still-open-1", NOON, visitor=VISITOR)]), 1)
    create_request(data, VISITOR, None)
    log = SilentLog()

    erase(data, log=log)

    assert log.events() == ["erasure_pending"]
    assert load_snapshot(data).totals.erased == 0
    assert len(pending_requests(data)) == 1
    writer.seal()
    fold(data, NOON + 7_100_000)
    erase(data)
    assert files_with(data) == []


@pytest.mark.long
def test_renamed_segment_that_holds_the_visitor_delays_it(data: DataDirectory) -> None:
    """The next pass may recover it: events erased before that would count again."""
    rotated = data.log / "active-0.ndjson.1"
    rotated.write_bytes(sealed_segments(data)[-1].path.read_bytes())
    create_request(data, VISITOR, None)

    erase(data)
    assert (load_snapshot(data).totals.erased, len(pending_requests(data))) == (0, 1)

    recover_rotated_files(data, SilentLog(), now_ms(), quiet_s=0)
    fold(data, NOON + 7_100_000)
    erase(data)
    assert (files_with(data), pending_requests(data)) == ([], [])
    assert load_snapshot(data).totals.erased == 24


@pytest.mark.long
def test_rebuild_during_an_erasure_does_not_restore_the_visitor(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is published, then the disk is full."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    create_request(data, VISITOR, None)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("compactor.erasure.rewrite._rewrite_segment", Mock(side_effect=full))
        erase(data)
    settings = Settings(data_dir=data.root)
    (finding,) = verify_directory(data, settings, lambda _step: None).findings
    assert (finding.problem, "compact --once" in finding.action) == ("an erasure is not finished", True)

    rebuild(data, settings, SilentLog(), NOON + 8_000_000, dry_run=False)

    totals = load_snapshot(data).totals
    assert (totals.counted, totals.erased, totals.quarantined) == (96, 24, 0)
    erase(data, NOON + 9_000_000)
    assert (files_with(data), pending_requests(data), load_snapshot(data).totals.erased) == ([], [], 24)


def test_segment_that_is_sealed_while_the_log_is_searched_delays_it(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ActiveSegment(data, "9", 1, "fsync")
    writer.commit(encode_lines([line("still-open-1", NOON, visitor=VISITOR)]), 1)
    create_request(data, VISITOR, None)
    searched = footprint._may_contain

    def seal_first(path: Path, prefilter: bytes) -> bool:
        if path == data.active("9") and writer.lines:
            writer.seal()
            writer.lines = 0
            path.touch()  # the writer opens a new one
        return searched(path, prefilter)

    monkeypatch.setattr(footprint, "_may_contain", seal_first)
    log = SilentLog()
    erase(data, log=log)

    assert log.events() == ["erasure_pending"]
    fold(data, NOON + 7_100_000)
    erase(data)
    assert (files_with(data), pending_requests(data)) == ([], [])


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["", ".zst"], ids=["of an erasure", "of a compression"])
def test_temporary_file_of_a_sealed_segment_is_removed_and_delays_nothing(data: DataDirectory, suffix: str) -> None:
    segment = sealed_segments(data)[-1]
    left = data.log / f".{segment.name.file}{suffix}.1.1{TEMP_SUFFIX}"
    with compressing(left, suffix) as write:
        write(segment.path.read_bytes())
    create_request(data, VISITOR, None)

    erase(data)

    assert (files_with(data), pending_requests(data), left.exists()) == ([], [], False)


@pytest.mark.long
def test_foreign_and_damaged_files_do_not_stop_it(data: DataDirectory) -> None:
    """A directory in log/, a damaged request, a damaged record, and a line in
    quarantine/ that is not an event.
    """
    (data.log / "lost+found").mkdir()
    (data.private / "erase-0123456789abcdef.json").write_bytes(b"")
    data.erasures.write_bytes(b"{damaged\n")
    (data.quarantine / "other.ndjson").write_text(json.dumps({"props": [VISITOR], "id": VISITOR}) + "\n")
    create_request(data, VISITOR, None)
    log = SilentLog()

    erase(data, log=log)

    assert log.events() == ["erasure_unreadable", "visitor_erased"]
    assert load_snapshot(data).totals.erased == 24
    (data.private / "erase-0123456789abcdef.json").unlink()
    (data.log / "lost+found").rmdir()


@pytest.mark.long
def test_compact_once_erases_as_well(data: DataDirectory) -> None:
    create_request(data, VISITOR, None)
    compact_once(data, Settings(data_dir=data.root), SilentLog())
    assert (files_with(data), pending_requests(data)) == ([], [])


def test_events_sent_after_the_request_are_new(data: DataDirectory) -> None:
    request = create_request(data, VISITOR, None)
    later = epoch_ms(request.asked_at) + 60_000
    writer = ActiveSegment(data, "9", 1, "fsync")
    writer.commit(encode_lines([line("came-back-1", later, visitor=VISITOR)]), 1)

    erase(data, later)

    assert pending_requests(data) == []
    assert files_with(data) == ["log/active-9.ndjson"]
    writer.seal()


@pytest.mark.long
def test_both_files_of_a_segment_that_was_being_compressed_are_rewritten(data: DataDirectory) -> None:
    plain = sealed_segments(data)[-1].path
    plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))

    create_request(data, VISITOR, None)
    erase(data)

    assert files_with(data) == []


def test_escaped_id_in_a_torn_line_leaves_no_trace(tmp_path: Path) -> None:
    """The escaped form of the id differs from the id."""
    visitor = 'who "goes"\\\u202e'
    data = data_directory(tmp_path / "data")
    orphan = ActiveSegment(data, "1", 1, "fsync")
    orphan.commit(encode_lines([line("of-others", visitor='who "stays"')]), 1)
    orphan.close()
    for who in (visitor, 'who "stays"'):
        with data.active("1").open("ab") as file:
            file.write(encode_lines([line("torn", visitor=who, url="https://example.com/")])[:-40] + b"\n")
    fold(data, NOON + 1000)
    create_request(data, visitor, None)

    erase(data)

    (record,) = [line for path in data.quarantine.iterdir() for line in path.read_bytes().splitlines()]
    assert b"stays" in base64.b64decode(json.loads(record)["base64"])
    (begun, _) = read_records(data)
    assert isinstance(begun, ErasureStarted) and begun.quarantined == 1


@pytest.mark.long
@pytest.mark.parametrize("place", ["log", "quarantine", "segment"])
def test_file_that_foldlog_cannot_read_is_reported(data: DataDirectory, place: str) -> None:
    content = lzma.compress(encode_lines([line("event-of-them", visitor=VISITOR)]))
    if place == "segment":  # damaged at its start: nothing can be inflated, and the rest may hold any visitor
        segment = next(segment for segment in sealed_segments(data) if segment.suffix == ".gz")
        before = segment.path.read_bytes()
        path = segment.path
        path.write_bytes(b"\0\0\0\0" + before[4:])
    else:
        path = {"log": data.log, "quarantine": data.quarantine}[place] / "damaged-0-active-0.ndjson.1.xz"
        path.write_bytes(content)
    assert path in preview_erasure(data, Settings(data_dir=data.root), VisitorFilter(VISITOR, None)).unreadable
    create_request(data, VISITOR, None)

    erase(data)

    begun = next(read_records(data))
    assert isinstance(begun, ErasureStarted) and begun.unreadable == (path.name,)
    path.unlink()  # as docs/privacy.md says
    if place == "segment":
        segment.checksum.unlink()


@pytest.mark.long
def test_temporary_file_of_a_writer_delays_it_until_the_file_is_abandoned(data: DataDirectory) -> None:
    left = data.log / f".20261122T120000Z-5-0000000003.ndjson.1.1{TEMP_SUFFIX}"
    left.write_bytes(encode_lines([line("event-of-them", visitor=VISITOR)]))
    written = left.stat().st_mtime
    os.utime(left, (written - 3600,) * 2)
    erase(data)
    assert left.exists()  # there is no request, and the clock may be wrong

    os.utime(left, (written,) * 2)
    create_request(data, VISITOR, None)
    erase(data)
    assert len(pending_requests(data)) == 1  # its writer may still be writing it

    os.utime(left, (written - 3600,) * 2)
    erase(data)

    assert (files_with(data), pending_requests(data), left.exists()) == ([], [], False)


def test_request_that_was_never_published_leaves_nothing(data: DataDirectory) -> None:
    """A command may be killed before it has published its request."""
    left = data.private / f".erase-0123456789abcdef.json.1.1{TEMP_SUFFIX}"
    left.write_text(VISITOR)
    os.utime(left, (1, 1))

    erase(data)

    assert not left.exists()


def test_out_of_memory_is_tried_again_with_one_thread(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only once parts of the next generation are there: they are written anew."""
    threads = list[int]()

    def hungry(context: PassContext, before: Snapshot, current: Snapshot) -> Snapshot:
        threads.append(one_number(context.database, "SELECT current_setting('threads')"))
        if threads[-1] > 1:
            raise duckdb.OutOfMemoryException("several threads")
        return with_summary(context, before, current)

    monkeypatch.setattr("compactor.context.fold_threads", lambda _data, _settings: 2)
    monkeypatch.setattr("compactor.erasure.rewrite.with_summary", hungry)
    expected = load_snapshot(data).totals
    create_request(data, VISITOR, None)
    erase(data)
    assert threads == [2, 1]
    assert files_with(data) == []
    totals = load_snapshot(data).totals
    assert (totals.counted, totals.erased) == (expected.counted - 24, 24)
    assert [type(record) for record in read_records(data)] == [ErasureStarted, ErasureCompleted]


@pytest.mark.long
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.whole), 5])
def test_crash_at_any_point_only_delays_it(tmp_path: Path, step: int) -> None:
    """At each crash that is made up, in the sample at each fifth of them."""
    data = data_directory(tmp_path / "data")
    for number in range(2):
        visits = [line(f"event-{number}-{n}", NOON + n, visitor=VISITOR if n % 2 else "b") for n in range(4)]
        sealed(data, visits)
        fold(data, NOON + 1000 + number)
    leave_bad_lines(data)
    fold(data, NOON + 2000)
    expected = load_snapshot(data).totals
    create_request(data, VISITOR, None)
    with Recorder(data.root) as recorder:
        erase(data)
    tried = list(crashes(recorder, 6, ("kept", "lost", "some")))
    assert len(tried) > 40
    for crash, tree in tried[::step]:
        clone = DataDirectory(tmp_path / "clone")
        make_tree(clone.root, tree)
        make_data_directory(clone)

        fold(clone, NOON + 3000)
        erase(clone, NOON + 4000)

        assert files_with(clone) == [], crash
        totals = load_snapshot(clone).totals
        assert (totals.counted, totals.erased) == (expected.counted - 4, 4), crash
        assert [type(record) for record in read_records(clone)] == [ErasureStarted, ErasureCompleted], crash
        verify(clone, environment(clone.root))
        assert next(record.events for record in read_records(clone) if isinstance(record, ErasureStarted)) == 4
        shutil.rmtree(clone.root)
