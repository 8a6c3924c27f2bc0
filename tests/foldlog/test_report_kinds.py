"""`foldlog report --kind`: the kinds of report with a name, on a terminal, as JSON and
as CSV.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.named_filters import NamedFilter, put_named_filter
from tests.builders.command import run_here
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.server import environment

DAY_MS = 86_400_000
SPAN = ("--from", "2026-11-20", "--to", "2026-11-22")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    made = data_directory(tmp_path_factory.mktemp("report") / "data")
    seen = (("ann", 2, "/"), ("ann", 1, "/a"), ("bob", 1, "/"), ("bob", 0, "/\x1b[2J"), ("eve", 0, "/a"))
    sealed(
        made,
        [
            line(f"event-{number}", NOON - days * DAY_MS, NOON, visitor=name, url=f"https://example.com{path}")
            for number, (name, days, path) in enumerate(seen)
        ],
    )
    fold(made, NOON)
    set_mark(made.last_pass, NOON + 60_000)
    put_named_filter(made, NamedFilter("goal", "prices", "path==/a", 2.5))
    return made


def report(data: DataDirectory, *options: str) -> str:
    done = run_here(["report", *options], environment(data.root))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_live_is_of_the_minutes_before_the_last_pass(data: DataDirectory) -> None:
    found = json.loads(report(data, "--kind", "live", "--json"))
    assert (found["at"], found["total"]["visitors_5"]) == ("2026-11-22T12:01:00.000+00:00", 2)
    shown = report(data, "--kind", "live")
    assert "until 2026-11-22T12:01:00.000+00:00" in shown and "\x1b[2J" not in shown
    assert "total: 2 events_5, 2 visitors_5, 2 events_30, 2 visitors_30" in shown


def test_cohorts_are_a_table_of_later_periods(data: DataDirectory) -> None:
    csv = report(data, "--kind", "cohorts", "--period", "day", *SPAN, "--csv")
    assert csv.splitlines() == [
        "time,visitors,returned_1,returned_2",
        "2026-11-20T00:00:00+00:00,1,1,0",
        "2026-11-21T00:00:00+00:00,1,1,",
        "2026-11-22T00:00:00+00:00,1,,",
    ]
    back = json.loads(report(data, "--kind", "cohorts", "--period", "day", "--return", "path==/a", *SPAN, "--json"))
    assert [row["returned"] for row in back["rows"]] == [[1, 0], [0], []]
    assert "total: 3 visitors, 0 daily_visitors" in report(data, "--kind", "cohorts", *SPAN)


def test_goals_are_those_of_the_directory(data: DataDirectory) -> None:
    assert report(data, "--kind", "goals", *SPAN, "--csv").splitlines() == [
        "goal,events,visitors,all_visitors,rate,value_sum",
        "prices,2,2,3,0.666667,5.0",
    ]
    assert "prices" in report(data, "--kind", "goals", "--goal", "prices", "--interval", "day", *SPAN)


WRONG = {
    "another kind": (("--kind", "retention"), "kind: must be one of"),
    "an option of another kind": (("--kind", "live", "--from", "2026-11-20"), "from: unknown parameter"),
    "an option of a kind alone": (("--period", "day"), "period: unknown parameter"),
    "a goal that is not there": (("--kind", "goals", "--goal", "absent"), "goal: there is none"),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG)
def test_wrong_question_is_refused(data: DataDirectory, options: tuple[str, ...], said: str) -> None:
    done = run_here(["report", *options], environment(data.root))
    assert done.returncode == 2 and said in done.stderr


def test_kinds_need_a_directory(tmp_path: Path) -> None:
    assert run_here(["report", "--kind", "goals"], environment(tmp_path / "none")).returncode == 2
