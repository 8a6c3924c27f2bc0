"""Each load runs at a small size and checks its own result; one that lost an event
fails.

No speed is asserted here: the machine that runs tests has much else
to do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from foldlog.load.plan import Outcome
from foldlog.load.run import Result, make_plan, run
from foldlog.load.target import BenchError
from shared.disk.layout import DataDirectory
from tests.bench import isolation, latency, memory, scenario, sizes
from tests.bench.processes import serving
from tests.builders.logs import lose_a_segment

pytestmark = pytest.mark.long


def outcome(**given: object) -> Outcome:
    usual: dict[str, object] = {
        "requests": 10,
        "seconds": 1.0,
        "statuses": {"200": 10},
        "codes": {},
        "acknowledged": 10,
        "unanswered": 0,
        "latency": {"p99": 1.0},
        "late": {},
        "late_share": 0.0,
        "waited_for_connection": 0,
        "slices": [],
        "cpu_s": 0.0,
    }
    return Outcome(**(usual | given))  # type: ignore[arg-type]


def test_day_has_its_events_and_a_peak_of_ten_times_the_mean() -> None:
    curve = scenario.day_curve(50.0)
    assert sum(curve) / len(curve) == pytest.approx(50.0)
    assert max(curve) == pytest.approx(500.0)
    assert sorted(curve)[-3] < 200 and min(curve) > 1


def test_scenario_plays_a_small_day(tmp_path: Path) -> None:
    played = scenario.play(tmp_path, users=60, seconds=6.0)
    assert played.result.outcome.statuses == {"200": played.result.outcome.requests}
    assert played.result.counted == played.result.outcome.acknowledged > 300
    assert [wrong for wrong in played.wrong if not wrong.startswith("p99")] == []


def test_scenario_that_lost_a_segment_is_not_accepted(tmp_path: Path) -> None:
    thief = lose_a_segment(DataDirectory(tmp_path / "scenario"))
    played = scenario.play(tmp_path, users=60, seconds=6.0, before_fold=thief.join, FOLDLOG_SEGMENT_MAX_AGE="1")
    assert any("are counted" in wrong for wrong in played.wrong)
    assert any(wrong.startswith("verify") for wrong in played.wrong)


@pytest.mark.parametrize(
    ("given", "counted", "reports", "said"),
    [
        ({}, 10, [200], None),
        ({"statuses": {"200": 9, "503": 1}, "codes": {"busy": 1}, "acknowledged": 9}, 9, [], "refused"),
        ({}, 9, [], "are counted"),
        ({}, None, [], "are counted"),
        ({"latency": {"p99": 25.0}}, 10, [], "p99"),
        ({}, 10, [200, 503], "reports"),
    ],
)
def test_scenario_says_what_was_not_as_wanted(
    given: dict[str, object], counted: int | None, reports: list[int], said: str | None
) -> None:
    found = list(scenario.faults(Result(outcome=outcome(**given), events=1, counted=counted, uses=[]), reports))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_latency_at_half_of_the_maximum(tmp_path: Path) -> None:
    found = latency.half_of_maximum(tmp_path, rounds=1, seconds=1.0, requests=400)
    assert found.most > 0
    assert 0 < found.p50 <= found.p99 <= found.p999 <= found.slowest


def test_latency_of_a_lossy_server_is_no_figure(tmp_path: Path) -> None:
    with serving(tmp_path / "data", FOLDLOG_SEGMENT_MAX_AGE="1") as target:
        plan = make_plan(target, [100.0], 3.0, connections=4, forwarded=True)
        thief = lose_a_segment(DataDirectory(tmp_path / "data"))
        result = run(target, plan, thief.join)
    with pytest.raises(BenchError, match="are counted"):
        latency.whole(result)


def test_isolation_from_folds_and_reports(tmp_path: Path) -> None:
    found = isolation.compare(tmp_path, rounds=1, seconds=0.5, first_backlog=2_000)
    assert found.folding > 0 and found.reporting > 0 and 0 < found.fold_share <= 1
    assert found.reports > 0 and found.report_s > 0


def test_memory_of_one_worker_and_that_it_is_compared(tmp_path: Path) -> None:
    found = memory.one_worker(tmp_path, events=10_000, loads=5)
    assert found.events >= 8_000
    assert found.highest_mib >= found.warm_mib > 10
    assert set(found.cpu_us) == set(memory.SIZES)
    with pytest.raises(BenchError, match="are counted"):
        memory.check_counted(tmp_path / "memory", found.events + 1)


def test_sizes_of_an_event(tmp_path: Path) -> None:
    found = sizes.of_an_event(tmp_path, events=10_000)
    assert found.events > 8_000
    assert found.log > found.gzip > 10
    assert found.archive > 5 and found.counters_of_day > 1_000
