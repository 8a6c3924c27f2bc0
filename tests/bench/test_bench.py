"""The benchmarks at small size: each runs, checks its own result, and fails when an
event was lost.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.segments.sealed import sealed_segments
from tests.bench import figures, ingest
from tests.bench.baselines import decode, disk, postgres, sqlite
from tests.bench.figures import Figure, row
from tests.builders import postgres_kinds
from tests.builders.postgres import running

pytestmark = pytest.mark.long

SMALL = ingest.Size(rounds=1, single=100, batches=5, postgres=20, sqlite=20, summary_file=20)
BODIES = [b'{"events":[{"name":"a"},{"name":"b"}]}', b'{"events":[{"name":"c"}]}']


def test_single_events_against_the_null_handler(tmp_path: Path) -> None:
    assert all(figure.value > 0 for figure in ingest.single(tmp_path, SMALL)[:2])


def test_batches_against_decoding_and_the_disk(tmp_path: Path) -> None:
    measured = ingest.batches(tmp_path, SMALL)
    assert [figure.value > 0 for figure in measured if figure.is_ratio] == [True, True]


def test_sqlite_and_the_summary_file_count_what_they_acknowledge(tmp_path: Path) -> None:
    baselines = {"SQLite": ingest.sqlite_baseline(tmp_path, SMALL), "file": ingest.file_baseline(tmp_path, SMALL)}
    assert ingest.against(tmp_path / "data", baselines, SMALL).keys() == {"SQLite", "file"}


@pytest.mark.component
def test_postgres_counts_what_it_acknowledges(tmp_path: Path) -> None:
    with running(postgres_kinds.required("system"), settings=postgres.SETTINGS) as server:
        baselines = ingest.postgres_baselines(server.url, SMALL)
        assert ingest.against(tmp_path / "data", baselines, SMALL).keys() == baselines.keys()


def test_without_postgres_its_lines_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def system() -> Path:
        raise postgres_kinds.Absent("not installed")

    monkeypatch.setattr(postgres_kinds, "system", system)
    measured = ingest.databases(tmp_path, SMALL)
    assert ["PostgreSQL" in figure.what for figure in measured] == [False, False]
    assert "not installed" in capsys.readouterr().err


def test_baseline_that_lost_an_event_fails(tmp_path: Path) -> None:
    honest = ingest.sqlite_baseline(tmp_path, SMALL)

    def sums_after_loss() -> dict[str, int]:
        with closing(sqlite3.connect(tmp_path / "counters.sqlite")) as database, database:
            database.execute("UPDATE day_path SET events = events - 1 WHERE path = (SELECT min(path) FROM day_path)")
        return sqlite.sums(tmp_path / "counters.sqlite")

    with pytest.raises(AssertionError, match="24 events were acknowledged"):
        ingest.against(tmp_path / "data", {"SQLite": honest._replace(sums=sums_after_loss)}, SMALL)


def test_baseline_that_only_answers_fails(tmp_path: Path) -> None:
    liar = [
        sys.executable,
        "-c",
        "import sys; from tests.bench.baselines.null_handler import run; run(int(sys.argv[1][7:]))",
    ]
    baseline = ingest.Baseline(liar, 20, lambda: {"path": 0})
    with pytest.raises(AssertionError, match="24 events were acknowledged"):
        ingest.against(tmp_path / "data", {"liar": baseline}, SMALL)


def test_log_that_lost_an_event_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = ingest.check_counted

    def check_after_loss(data: Path, sent: int) -> None:
        (segment, *_) = sealed_segments(DataDirectory(data))
        segment.path.write_bytes(segment.path.read_bytes().partition(b"\n")[2])
        check(data, sent)

    monkeypatch.setattr(ingest, "check_counted", check_after_loss)
    with pytest.raises(AssertionError, match="220 events were acknowledged, 219 are counted"):
        ingest.single(tmp_path, SMALL)


def test_decoding_that_misses_an_event_fails() -> None:
    assert decode.decode_seconds(BODIES, 3) > 0
    with pytest.raises(AssertionError, match="4 events were in the bodies, 3 were decoded"):
        decode.decode_seconds(BODIES, 4)


def test_disk_floor_writes_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk.write_seconds(tmp_path / "floor", BODIES, 1) > 0
    assert (tmp_path / "floor").read_bytes() == b"".join(BODIES)
    monkeypatch.setattr(os, "write", lambda descriptor, content: os.pwrite(descriptor, content[1:], 0))
    with pytest.raises(AssertionError, match="bytes were to be written"):
        disk.write_seconds(tmp_path / "short", BODIES, 2)


RATIO = Figure("a ratio", 0.5, wanted=0.4, is_ratio=True)
COST = Figure("a cost", 2.0, "{:.1f} µs", 2.5, less_is_better=True)


@pytest.mark.parametrize(
    ("figure", "last", "expected"),
    [
        (RATIO, None, "| a ratio | 0.50 | at least 0.40 |  |"),
        (RATIO, 0.5, "| a ratio | 0.50 | at least 0.40 | +0% |"),
        (RATIO, 0.54, "| a ratio | 0.50 | at least 0.40 | -7% |"),
        (RATIO, 0.56, "| a ratio | 0.50 | at least 0.40 | -11%, **slower** |"),
        (RATIO._replace(value=0.39), 0.3, "| a ratio | 0.39, **missed** | at least 0.40 | +30% |"),
        (RATIO._replace(value=0.3, less_is_better=True), 0.25, "| a ratio | 0.30 | at most 0.40 | +20%, **slower** |"),
        (RATIO._replace(value=0.3, less_is_better=True), 0.6, "| a ratio | 0.30 | at most 0.40 | -50% |"),
        (COST, 1.0, "| a cost | 2.0 µs | at most 2.5 µs | +100% |"),
        (COST._replace(wanted=None), None, "| a cost | 2.0 µs |  |  |"),
    ],
)
def test_row_says_what_is_missed_and_what_became_slower(figure: Figure, last: float | None, expected: str) -> None:
    assert row(figure, {} if last is None else {figure.what: last}) == expected


def test_kept_figures_are_those_of_the_run_and_of_parts_not_run(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    assert figures.load_last(path) == {}
    figures.keep([RATIO, COST], path)
    figures.keep([RATIO._replace(value=0.61239)], path)
    assert figures.load_last(path) == {"a ratio": 0.6124, "a cost": 2.0}
