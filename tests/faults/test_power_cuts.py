"""What was acknowledged survives a power cut (P1): some cuts of `python -m
tests.faults.power_cuts`, which makes hundreds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.bad_disk import run as bad_disk_run
from tests.faults.file_systems import CannotMount, MissingProgram
from tests.faults.outcome import Outcome
from tests.faults.power_cuts import run

pytestmark = [pytest.mark.component, pytest.mark.crash, pytest.mark.long]


@contextmanager
def file_systems() -> Iterator[None]:
    """Skip where nothing can be mounted. A program that is only not installed is a
    failure where CI=true.
    """
    try:
        yield
    except MissingProgram as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing}, and CI=true asks for every component")
        pytest.skip(str(missing))
    except CannotMount as why:
        pytest.skip(str(why))


def assert_no_violations(outcome: Outcome) -> None:
    assert outcome.failures == []
    assert (outcome.lost, outcome.double, outcome.phantom) == (0, 0, 0)
    assert outcome.acknowledged > 0


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_loses_nothing_that_was_acknowledged(kind: str) -> None:
    with file_systems():
        outcome = run(kind, 2, 4)
    assert_no_violations(outcome)
    assert outcome.runs == 2


def test_disk_that_lies_about_syncs_is_found_out() -> None:
    """The negative control: if this finds no loss, the test above proves nothing."""
    with file_systems():
        outcome = run("ext4", 1, 4, lie=True)
    assert outcome.lost > 0


def test_disk_that_cannot_write_back_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with file_systems():
        outcome = bad_disk_run(tmp_path / "disks", 1, 4)
    assert_no_violations(outcome)
