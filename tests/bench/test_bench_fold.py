"""The benchmarks of fold and reports run at small size, and fail when what they
measured did not happen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.disk.layout import DataDirectory
from shared.segments.sealed import sealed_segments
from tests.bench import fold, reports
from tests.bench.__main__ import folding, history, large_fold

pytestmark = pytest.mark.long


def test_fold_against_parsing_alone(tmp_path: Path) -> None:
    share, rate, peak = folding(tmp_path, events=3000, rounds=1)
    assert share.value > 0 and 0 < rate.value < 1e7 and peak.value > 50


def test_fold_of_many_values(tmp_path: Path) -> None:
    peak, rate = large_fold(tmp_path, events=3000)
    assert peak.wanted == 512 and peak.value > 50 and rate.value > 0


def test_fold_on_history(tmp_path: Path) -> None:
    (ratio,) = history(tmp_path, days=3, events=500)
    assert 0.1 < ratio.value < 10


def test_fold_that_lost_an_event_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = fold.measure

    def lossy(root: Path) -> dict[str, float]:
        *_, last = sealed_segments(DataDirectory(root))
        last.checksum.unlink()  # as after a failure: each line is trusted as far as its CRC
        content = last.path.read_bytes().splitlines(keepends=True)
        last.path.write_bytes(b"".join(content[:-1]))
        return measured(root)

    monkeypatch.setattr(fold, "measure", lossy)
    with pytest.raises(AssertionError, match="are counted"):
        folding(tmp_path, events=3000, rounds=1)


def test_parsing_that_missed_a_line_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = fold.fresh(tmp_path / "data")
    fold.write_segments(data, 100, fold.DAY)
    assert fold.parse_seconds(data.root) > 0
    monkeypatch.setattr(fold, "segment_lines", lambda _file: 101)
    with pytest.raises(AssertionError, match="were parsed"):
        fold.parse_seconds(data.root)


def test_reports_over_a_month(tmp_path: Path) -> None:
    found = reports.over_a_month(tmp_path, days=2, events=4000)
    assert found.events == 8000 and 0 < found.quick_p95_s < 10 and 0 < found.exact_s < 10
    assert 5 < found.bytes_of_event < 100


@pytest.mark.parametrize("tampered", ["counts", "seen"])
def test_report_that_lost_an_event_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tampered: str) -> None:
    make = reports.make_month

    def one_more(*given: Any) -> Any:
        database = make(*given)
        extra = {
            "counts": "UPDATE counts SET events = events + 1",
            "seen": "INSERT INTO seen SELECT path, country, 0 FROM seen",
        }
        database.execute(extra[tampered])
        return database

    monkeypatch.setattr(reports, "make_month", one_more)
    with pytest.raises(AssertionError, match="the report says"):
        reports.over_a_month(tmp_path, days=1, events=4000)
