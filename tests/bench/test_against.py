"""Two checkouts are compared by their public interface: here, this one with itself."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.bench import against, colliding, flooding, fold, growing, idle, resident, unfiltered
from tests.bench.__main__ import COMPARED, of_this_checkout
from tests.bench.checkout import THIS, Checkout, Costs
from tests.bench.compacting import NEVER, compacting
from tests.builders.pages import ROOT

pytestmark = pytest.mark.long


# By part, what makes it small.
SMALL: dict[ModuleType, dict[str, Any]] = {
    against: {"FOLD_EVENTS": 500, "SINGLE_REQUESTS": 50, "BATCH_REQUESTS": 10},
    growing: {"DAY_EVENTS": 2000, "DAYS_BEFORE": 1, "PASSES": 3, "PASS_EVENTS": 100},
    idle: {"PASSES": 3},
    resident: {"EVENTS": 2000},
    flooding: {"MINUTES": 2, "COMBINATIONS": 500, "TEXTS": 200, "FAT": 5},
    unfiltered: {"DAYS": 2, "DAY_EVENTS": 2000},
    colliding: {"TEXTS": 200, "FAMILIES": {"paths of two under any prefix": ("path", True)}},
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for part, sizes in SMALL.items():
        for size, small in sizes.items():
            monkeypatch.setattr(part, size, small)


# Those that take longest.
WHOLE = ("colliding", "floods")


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[pytest.mark.whole] if part in WHOLE else []) for part in against.PARTS]
)
def test_each_part_prints_the_ratio_of_each_figure(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And, of those that are measured alone, too, that what they found has figures."""
    measure, found = against.PARTS[part], list[Costs]()

    def measured(checkout: Checkout, root: Path) -> Costs:
        found.append(measure(checkout, root))
        return found[-1]

    monkeypatch.setitem(against.PARTS, part, measured)
    against.compare(ROOT, [part], 1, tmp_path)
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert [head, rule] == against.HEAD.splitlines()
    assert rows and all(re.search(r"\| \d+\.\d{3} \(of 1\) \|$", row) for row in rows)
    assert list(tmp_path.iterdir()) == []
    if part in COMPARED:
        made = COMPARED[part].figures(found[0])
        assert len({figure.what for figure in made}) == len(made) > 0
        assert all(0 <= figure.value < 1e9 for figure in made)


def test_a_part_is_measured_alone(tmp_path: Path) -> None:
    assert of_this_checkout(COMPARED["idle"], tmp_path)


def test_pass_that_lost_an_event_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = fold.write_segments
    monkeypatch.setattr(fold, "write_segments", lambda *given, **spread: write(*given, **spread) + 1)
    with pytest.raises(AssertionError, match="events were written"):
        growing.passes(THIS, tmp_path / "lossy", 0)


def test_report_that_is_wrong_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = unfiltered._counted
    monkeypatch.setattr(unfiltered, "_counted", lambda database: (counted(database)[0], -1))
    with pytest.raises(AssertionError, match="counted were"):
        unfiltered.costs(THIS, tmp_path)


def test_pass_that_does_not_end_costs_more_than_any(tmp_path: Path) -> None:
    data = fold.fresh(tmp_path / "data")
    with compacting(THIS, data) as compactor:
        assert compactor.fold(1, within_s=0.1) == NEVER
    assert next(against.rows([{"x": NEVER}], [{"x": 1.0}])) == "| x | inf | 1.00 | inf (of 1) |"
