"""P13: what a request, a pass or a question costs is bounded by what it brought, and
nothing that one client sends stops the others.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from compactor.attempt import Attempt
from compactor.backup import backup
from compactor.compress import compress
from compactor.fold.load import load_lines
from compactor.fold.select_segments import PASS_MAX_BYTES
from compactor.fold.set_aside import build
from compactor.fold.verify_segments import VerifiedSegment
from compactor.generations.commit import commit
from compactor.lock import compactor_lock
from compactor.process import compact_once
from compactor.repair.rebuild import rebuild
from compactor.run_pass import run_pass
from shared.disk.compression import compressing, decompressed_blocks
from shared.disk.layout import DataDirectory, SegmentName
from shared.disk.marks import set_mark
from shared.erasures import create_request, pending_requests
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import utc_day
from tests.builders.archive import assert_verified
from tests.builders.erasure import VISITOR
from tests.builders.logs import NOON, data_directory, line, sealed
from tests.builders.silent_log import SilentLog

DAY_MS = 86_400_000
POISON = b'"name":"poison"'


class Unfoldable(Exception):
    """What DuckDB might raise: with a text of the client in it."""


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on loading fails wherever a line has the name `poison`; the function
    returned mends it.
    """

    def failing(database: object, verified: list[VerifiedSegment], *rest: object) -> object:
        if any(POISON in b"".join(decompressed_blocks(each.path, 1 << 20)) for each in verified):
            raise Unfoldable("cannot read 'secret@example.com'")
        return load_lines(database, verified, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("compactor.run_pass.load_lines", failing)
    return lambda: monkeypatch.setattr("compactor.run_pass.load_lines", load_lines)


def rounds(data: DataDirectory, count: int, *, retry: bool = False) -> SilentLog:
    log = SilentLog()
    for _ in range(count):
        try:
            compact_once(data, Settings(data_dir=data.root), log, retry=retry)
        except Unfoldable:
            log.warning("round_failed")
    return log


def poison_among_others(data: DataDirectory) -> SegmentName:
    """Two segments of good lines, and between them one whose third line is poison."""
    sealed(data, [line(f"before-{n}") for n in range(5)])
    names = ["good", "good", "poison", "good"]
    middle = sealed(data, [line(f"middle-{n}", name=name) for n, name in enumerate(names)])
    sealed(data, [line(f"after-{n}") for n in range(5)])
    return middle


def assert_balanced(data: DataDirectory) -> None:
    totals = load_snapshot(data).totals
    assert totals.lines == totals.accounted
    assert read_status(data, Settings(data_dir=data.root)).balance.difference == 0


@pytest.mark.usefixtures("poisoned")
def test_one_segment_that_cannot_be_folded_stops_no_other(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    middle = poison_among_others(data)
    rounds(data, 1)
    snapshot = load_snapshot(data)
    assert snapshot.totals.counted == 12  # all others, and what stands before the poison
    assert snapshot.totals.set_aside == 0 and snapshot.partial.keys() == {middle.stem}
    assert not snapshot.has_folded(middle)
    assert_balanced(data)


@pytest.mark.usefixtures("poisoned")
def test_a_line_that_fails_in_three_rounds_is_set_aside(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    middle = poison_among_others(data)
    assert rounds(data, 2).events().count("round_failed") == 2
    log = rounds(data, 1)
    assert "segment_set_aside" in log.events() and "round_failed" not in log.events()
    snapshot = load_snapshot(data)
    (entry,) = snapshot.set_aside
    content = (data.log / middle.file).read_bytes()
    assert POISON in content[entry.start : entry.start + entry.bytes]
    assert (entry.segment, entry.day, entry.lines, entry.tries) == (middle.stem, None, 1, 3)
    assert entry.reason == "Unfoldable: cannot read"  # nothing of what the client sent
    assert (snapshot.totals.counted, snapshot.totals.set_aside) == (13, 1)
    assert snapshot.partial == {} and snapshot.missing == {}
    assert snapshot.has_passed(middle) and not snapshot.has_folded(middle)
    assert_balanced(data)
    assert_verified(data)


def test_what_is_set_aside_is_folded_once_on_request(tmp_path: Path, poisoned: Callable[[], None]) -> None:
    data = data_directory(tmp_path)
    middle = poison_among_others(data)
    rounds(data, 3)
    poisoned()
    rounds(data, 1)
    assert load_snapshot(data).totals.set_aside == 1
    rounds(data, 1, retry=True)
    snapshot = load_snapshot(data)
    assert (snapshot.totals.lines, snapshot.totals.counted, snapshot.totals.duplicates) == (14, 14, 0)
    assert snapshot.set_aside == () and snapshot.has_folded(middle)
    assert_balanced(data)
    assert_verified(data)


@pytest.mark.usefixtures("poisoned")
def test_a_whole_segment_of_poison_is_one_entry_after_three_rounds(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    all_of_it = sealed(data, [line(f"event-{n}", name="poison") for n in range(5)])
    sealed(data, [line("good")])
    rounds(data, 3)
    snapshot = load_snapshot(data)
    (entry,) = snapshot.set_aside
    assert (entry.segment, entry.lines, entry.start) == (all_of_it.stem, 5, 0)
    assert entry.bytes == (data.log / all_of_it.file).stat().st_size
    assert (snapshot.totals.counted, snapshot.totals.set_aside) == (1, 5)
    assert_balanced(data)


@pytest.mark.usefixtures("poisoned")
def test_tries_are_counted_over_restarts_and_a_lost_count_begins_anew(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    poison_among_others(data)
    rounds(data, 2)
    data.tries.write_bytes(b"{damaged")
    rounds(data, 2)
    assert load_snapshot(data).set_aside == ()
    rounds(data, 1)
    assert len(load_snapshot(data).set_aside) == 1


def test_another_version_tries_again_what_was_set_aside(tmp_path: Path, poisoned: Callable[[], None]) -> None:
    data = data_directory(tmp_path)
    poison_among_others(data)
    rounds(data, 3)
    as_if_by_version(data, "0.0.1")
    rounds(data, 1)
    (entry,) = load_snapshot(data).set_aside
    assert (entry.tries, entry.version) == (4, build())
    poisoned()
    as_if_by_version(data, "0.0.1")
    rounds(data, 1)
    assert load_snapshot(data).set_aside == () and load_snapshot(data).totals.counted == 14
    assert_balanced(data)


def as_if_by_version(data: DataDirectory, version: str) -> None:
    before = load_snapshot(data)
    entries = tuple(msgspec.structs.replace(entry, version=version) for entry in before.set_aside)
    after = msgspec.structs.replace(before, set_aside=entries, generation=before.generation + 1)
    with compactor_lock(data) as lock:
        commit(data, before, after, lock)


def test_a_day_that_cannot_be_folded_stops_no_other_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive of one day is damaged: events near it cannot be compared with it."""
    data = data_directory(tmp_path)
    sealed(data, [line("old", NOON - 20 * DAY_MS)])
    rounds(data, 1)
    (part,) = data.archive.glob("*/*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:-9] + b"x" + whole[-8:])
    late = sealed(data, [line("late", NOON - 20 * DAY_MS), line("today"), line("other", NOON - 18 * DAY_MS)])
    sealed(data, [line("good")])
    for _ in range(3):
        with suppress(PartDamaged):
            compact_once(data, Settings(data_dir=data.root), SilentLog())
    snapshot = load_snapshot(data)
    assert snapshot.totals.counted == 3
    assert {(entry.segment, entry.day, entry.lines) for entry in snapshot.set_aside} == {
        (late.stem, utc_day(NOON - 20 * DAY_MS), 1),
        (late.stem, utc_day(NOON - 18 * DAY_MS), 1),
    }
    assert_balanced(data)
    part.write_bytes(whole)
    rounds(data, 1, retry=True)
    assert load_snapshot(data).totals.counted == 5 and load_snapshot(data).set_aside == ()
    assert_balanced(data)
    assert_verified(data)


@pytest.mark.parametrize("suffix", [".gz", pytest.param(".zst", marks=pytest.mark.long)])
@pytest.mark.usefixtures("poisoned")
def test_pieces_of_a_compressed_segment_are_those_of_its_lines(tmp_path: Path, suffix: str) -> None:
    data = data_directory(tmp_path)
    middle = poison_among_others(data)
    plain = data.log / middle.file
    compressed = data.log / middle.compressed(suffix)
    with compressing(compressed, suffix) as write:
        write(plain.read_bytes())
    plain.unlink()
    rounds(data, 3)
    assert (load_snapshot(data).totals.counted, load_snapshot(data).totals.set_aside) == (13, 1)
    assert_balanced(data)


@pytest.mark.usefixtures("poisoned")
def test_retention_spares_what_is_set_aside_and_what_is_partly_folded(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    middle = poison_among_others(data)
    late = NOON + 60 * DAY_MS
    for set_aside in (0, 1):
        rounds(data, 1 if not set_aside else 2)
        assert load_snapshot(data).totals.set_aside == set_aside
        for passes in range(6):
            keep_marks(data, late)
            with compactor_lock(data) as lock:
                waiting = Attempt(waiting={middle.stem})
                settings = Settings(data_dir=data.root, log_retention_days=1)
                run_pass(data, settings, SilentLog(), lock, late + passes, PASS_MAX_BYTES, waiting)
        assert [each.name for each in sealed_segments(data)] == [middle]


def keep_marks(data: DataDirectory, at_ms: int) -> None:
    """As if the compactor had looked all the time until then."""
    set_mark(data.last_pass, at_ms)


@pytest.mark.usefixtures("poisoned")
def test_compress_backup_and_rebuild_know_what_is_set_aside(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    middle = poison_among_others(data)
    rounds(data, 3)
    settings = Settings(data_dir=data.root)
    compress(data, "gzip", 0, NOON * 2, lambda _: None)
    assert (data.log / middle.file).exists()
    copy = DataDirectory(backup(data, tmp_path / "backup", SilentLog()).path)
    assert (copy.log / middle.file).exists() and load_snapshot(copy).totals.set_aside == 1
    rebuild(data, settings, SilentLog(), NOON, dry_run=False)
    assert load_snapshot(data).totals.set_aside == 1 and load_snapshot(data).totals.counted == 13
    assert_balanced(data)
    assert_verified(data)
    rounds(data, 1)  # tried again after a rebuild, and in vain
    assert [entry.tries for entry in load_snapshot(data).set_aside] == [4]


@pytest.mark.usefixtures("poisoned")
def test_erasure_waits_for_what_is_partly_folded_and_rewrites_what_is_set_aside(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    lines = [line("a-0", visitor=VISITOR), line("a-1"), line("a-2", name="poison", visitor=VISITOR)]
    lines += [line("a-3", name="poison"), line("a-4", visitor=VISITOR), line("a-5")]
    segment = sealed(data, lines)
    rounds(data, 1)
    create_request(data, VISITOR, None)
    rounds(data, 1)
    assert load_snapshot(data).partial and pending_requests(data)
    rounds(data, 1)
    assert not pending_requests(data)
    assert VISITOR.encode() not in (data.log / segment.file).read_bytes()
    totals = load_snapshot(data).totals
    assert (totals.lines, totals.counted, totals.erased, totals.set_aside) == (6, 2, 3, 1)
    assert_balanced(data)


def test_what_was_set_aside_is_folded_after_an_erasure_moved_it(tmp_path: Path, poisoned: Callable[[], None]) -> None:
    data = data_directory(tmp_path)
    lines = [line("a-0", visitor=VISITOR), line("a-1"), line("a-2", name="poison", visitor=VISITOR)]
    sealed(data, [*lines, line("a-3"), line("a-4", name="poison"), line("a-5")])
    rounds(data, 3)
    assert load_snapshot(data).totals.set_aside == 2
    create_request(data, VISITOR, None)
    rounds(data, 1)
    poisoned()
    rounds(data, 1, retry=True)
    totals = load_snapshot(data).totals
    assert (totals.lines, totals.counted, totals.erased, totals.set_aside) == (6, 4, 2, 0)
    assert totals.duplicates == 0
    assert_balanced(data)
    assert_verified(data)


class Killed(BaseException):
    """The process ends here; nothing handles it."""


@pytest.mark.long
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("is_committed", [False, True], ids=["before the commit", "after the commit"])
def test_a_kill_between_two_pieces_neither_doubles_nor_loses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    kills = 0
    for number in range(40):
        data = data_directory(tmp_path / str(number))
        poison_among_others(data)
        left = [number]

        def dying(*given: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] >= 0 or is_committed:
                commit(*given)  # type: ignore[arg-type]
            if left[0] == -1:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr("compactor.run_pass.commit", dying)
            patch.setattr("compactor.pass_over.commit", dying)
            try:
                rounds(data, 3)
            except Killed:
                kills += 1
        rounds(data, 3)
        totals = load_snapshot(data).totals
        assert (totals.lines, totals.counted, totals.duplicates, totals.set_aside) == (14, 13, 0, 1)
        assert_balanced(data)
        assert_verified(data)
        if left[0] >= 0:
            break
    assert kills > 4
