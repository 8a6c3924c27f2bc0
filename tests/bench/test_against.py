"""Two checkouts are compared by their public interface: here, this one with itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench import against
from tests.builders.pages import ROOT

pytestmark = pytest.mark.long


@pytest.mark.parametrize("part", against.PARTS)
def test_each_part_prints_the_ratio_of_each_figure(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for size, small in {"FOLD_EVENTS": 500, "SINGLE_REQUESTS": 50, "BATCH_REQUESTS": 10}.items():
        monkeypatch.setattr(against, size, small)
    against.compare(ROOT, [part], 1, tmp_path)
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert [head, rule] == against.HEAD.splitlines()
    assert rows and all(re.search(r"\| \d+\.\d{3} \(of 1\) \|$", row) for row in rows)
    assert list(tmp_path.iterdir()) == []
