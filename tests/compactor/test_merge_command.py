"""`foldlog compact --merge DAY`: a day is merged at once, and one of an earlier format
becomes one of today's, with the same answers.
"""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from tests.builders.archive import HOUR_MS, assert_verified
from tests.builders.command import run_here
from tests.builders.golden import SETTINGS
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.questions import ask
from tests.builders.server import environment, run_foldlog

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "0.2.0.tar.gz"
TODAY = date(2026, 11, 22)


def merge(data: DataDirectory, day: date, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_foldlog(["compact", "--merge", str(day)], environment(data.root, **settings))


@pytest.fixture
def earlier(tmp_path: Path) -> DataDirectory:
    """The directory of release 0.2.0, in which nothing newer has run."""
    subprocess.run(["tar", "-xzf", GOLDEN, "-C", tmp_path], check=True)  # noqa: S607  tarfile warns or not, by Python
    return DataDirectory(tmp_path / "data")


def test_day_of_an_earlier_format_becomes_one_of_today(earlier: DataDirectory) -> None:
    data, old = earlier, load_snapshot(earlier)
    day = max(day for day, kept in old.days.items() if kept.archive)
    asked = [
        {"from": str(day), "to": str(day), "tz": zone, "by": by, "bots": "include"}
        for zone in ("UTC", "Asia/Kathmandu")
        for by in ("event", "path", "country", "browser")
    ]
    before = list(ask(data, asked))
    done = merge(data, day, sites=",".join(SETTINGS["sites"]), max_values=str(SETTINGS["max_values"]))
    assert done.returncode == 0, done.stderr
    kept = load_snapshot(data).days[day]
    assert {part.version for part in (*kept.archive, *kept.counters)} == {2}
    assert kept.merged
    assert old.days[day].archive[0].version == 1
    assert list(ask(data, asked)) == before
    assert_verified(data, **SETTINGS)


def test_day_that_is_not_over_is_merged_and_takes_later_events(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for hour in range(3):
        pages = [(f"event-{hour}-{page}", f"https://example.com/{hour}-{page}") for page in range(4)]
        sealed(data, [line(id_, NOON - hour * HOUR_MS, url=url) for id_, url in pages])
        fold(data, max_values=10)
    done = merge(data, TODAY, max_values="10")
    assert done.returncode == 0, done.stderr
    assert '"day_merge_finished"' in done.stderr
    kept = load_snapshot(data).days[TODAY]
    assert (len(kept.archive), len(kept.counters), kept.merged, kept.capped) == (1, 1, True, ("path",))
    generation = load_snapshot(data).generation
    assert merge(data, TODAY, max_values="10").returncode == 0
    assert load_snapshot(data).generation == generation  # there was nothing left to do
    sealed(data, [line("event-3")])
    assert fold(data, max_values=10).events.counted == 1
    assert load_snapshot(data).totals.counted == 13
    assert_verified(data, max_values=10)


@pytest.mark.parametrize(
    "command",
    [
        ["rebuild"],
        pytest.param(["retain"], marks=pytest.mark.long),
        pytest.param(["erase", "--visitor", "nobody"], marks=pytest.mark.long),
    ],
    ids=lambda each: each[0],
)
def test_any_command_may_be_the_first_after_an_upgrade(earlier: DataDirectory, command: list[str]) -> None:
    done = run_here(command, environment(earlier.root))
    assert "No such file" not in done.stderr
    is_ahead = "the clock is more than 48 hours ahead of the last snapshot" in done.stdout
    assert done.returncode == (75 if is_ahead else 0), done.stderr


def test_day_without_an_archive_is_refused(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data)
    done = merge(data, date(2026, 11, 1))
    assert (done.returncode, done.stdout) == (2, "")
    assert "2026-11-01 has no archive" in done.stderr
    done = run_foldlog(["compact", "--merge", "yesterday"], environment(data.root))
    assert "yesterday is not a day such as 2026-11-22" in done.stderr
