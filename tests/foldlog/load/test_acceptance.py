"""`foldlog bench --p99` ends with 0 where everything that was wanted was reached, and
with 1 and a line for each thing that was not.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from foldlog.load.acceptance import findings, misses, with_spike
from foldlog.load.plan import Outcome, Plan, Slice
from foldlog.load.run import Result
from foldlog.load.sampling import family
from tests.builders.command import run_here
from tests.builders.front import OwnAnswer, front
from tests.builders.server import INGEST_KEY, Server, environment
from tests.builders.waiting import TIMEOUT_S, until

# A run may also fall behind by as much, on a machine that has much else to do.
ANY_P99 = ["--p99", "60000"]
# One connection: the requests arrive in the order in which they are due.
SHORT = ["bench", "--rate", "20", "--seconds", "2", "--warm-up", "0", "--connections", "1"]
# With --spike 10, 16 requests are due before the spike, 40 in it, and 20 after it.
IN_THE_SPIKE = range(25, 35)
OTHER_TOKEN = "token-of-another-server"  # noqa: S105


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("acceptance")
    with Server(root, durability="os", store=f"sqlite:///{root / 'counts.db'}") as running:
        yield running


def bench(server: Server, own_answer: OwnAnswer, *options: str) -> subprocess.CompletedProcess[str]:
    """A short run through a proxy that answers some requests itself."""
    with front(server.port, own_answer) as url:
        return run_here([*SHORT, *ANY_P99, *options, url], server.environ)


def not_reached(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was not reached, each with what was wanted and what was measured."""
    lines = [line.split(": ", 3)[2:] for line in done.stderr.splitlines() if line.startswith("foldlog: not reached")]
    assert all(rest.startswith("wanted ") and ", measured " in rest for _, rest in lines)
    return [what for what, _ in lines]


def answering(numbers: range, status: int, **headers: str) -> OwnAnswer:
    """An answer of the proxy's own to requests of these numbers. Its 200 is a lie."""

    async def own_answer(number: int) -> web.Response | None:
        if number not in numbers:
            return None
        content: dict[str, Any] = {"accepted": 1, "rejected": []} if status == 200 else {"code": "busy"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(content, status=status, headers=named)

    return own_answer


@pytest.mark.long
def test_run_that_reaches_all_ends_with_0(server: Server) -> None:
    server.post([{"name": "pageview"}, {"name": "foldlog-bench"}])  # other traffic, and an earlier run
    done = run_here([*SHORT, *ANY_P99, "--events", "3"], server.environ)
    assert (done.returncode, not_reached(done)) == (0, []), done.stdout + done.stderr
    assert "120 as acknowledged" in done.stdout and " NO" not in done.stdout


@pytest.mark.long
def test_p99_above_the_wanted_one_ends_with_1(server: Server) -> None:
    done = run_here([*SHORT, "--p99", "0.001", "--json"], server.environ)
    assert (done.returncode, not_reached(done)) == (1, ["p99 since due"])
    found = json.loads(done.stdout)["findings"]
    assert [each["is_reached"] for each in found] == [True, True, False, True]


@pytest.mark.long
def test_rate_that_is_not_reached_ends_with_1(server: Server) -> None:
    async def slow(_number: int) -> None:
        await asyncio.sleep(0.05)  # at most twenty answers a second, and forty requests are due

    done = bench(server, slow, "--rate", "40", "--p99", "500")
    assert (done.returncode, not_reached(done)) == (1, ["rate", "p99 since due"])


@pytest.mark.long
def test_acknowledged_event_that_is_not_counted_ends_with_1(server: Server) -> None:
    done = bench(server, answering(range(7, 8), 200))
    assert (done.returncode, not_reached(done)) == (1, ["events counted"])
    assert "wanted 40 as acknowledged, measured 39" in done.stderr


@pytest.mark.long
def test_refusals_in_a_spike_are_sent_again_until_they_count(server: Server) -> None:
    done = bench(server, answering(IN_THE_SPIKE, 503, Retry_After="1"), "--spike", "10", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, not_reached(done)) == (0, [])
    assert found["outcome"]["statuses"] == {"202": 76, "503": 10}
    assert found["counted"] == found["outcome"]["acknowledged"] == 76
    spike = found["outcome"]["slices"][4]
    assert (spike["rate"], spike["requests"], spike["acknowledged"]) == (200.0, 40, 40)
    assert spike["p99"] > 1000  # from when it was first due


@pytest.mark.long
@pytest.mark.parametrize(
    ("numbers", "headers"), [(range(5, 6), {"Retry_After": "1"}), (range(25, 26), {})], ids=["before it", "no time"]
)
def test_other_refusals_end_with_1(server: Server, numbers: range, headers: dict[str, str]) -> None:
    done = bench(server, answering(numbers, 503, **headers), "--spike", "10")
    assert done.returncode == 1
    assert "requests refused or unanswered" in not_reached(done)


@pytest.mark.long
def test_event_lost_in_the_spike_ends_with_1(server: Server) -> None:
    done = bench(server, answering(range(30, 31), 200), "--spike", "10")
    assert (done.returncode, not_reached(done)) == (1, ["events counted"])


@pytest.mark.long
def test_without_a_token_that_may_count_no_load_begins(server: Server, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(INGEST_KEY)
    options = ["--key-file", str(tmp_path / "key"), f"http://{server.host}"]
    accepted = server.get("/metrics").body
    done = run_here([*SHORT, *ANY_P99, *options], environment(tmp_path / "other", admin_token="", ingest_keys=""))
    assert done.returncode == 2
    assert "no token permits" in done.stderr
    assert _requests(server.get("/metrics").body) == _requests(accepted)


def _requests(metrics: bytes) -> list[bytes]:
    return [line for line in metrics.splitlines() if line.startswith(b"foldlog_events_accepted_total")]


@pytest.mark.long
def test_token_of_the_key_file_counts_where_that_of_the_settings_may_not(server: Server, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(server.environ["FOLDLOG_ADMIN_TOKEN"])
    options = ["--key-file", str(tmp_path / "key"), f"http://{server.host}"]
    done = run_here([*SHORT, *ANY_P99, *options], environment(tmp_path / "other", admin_token=OTHER_TOKEN))
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_command_leaves_no_load_behind(server: Server, sent: int, code: int) -> None:
    command = [sys.executable, "-m", "foldlog", *SHORT, *ANY_P99, "--seconds", "3600"]
    with subprocess.Popen(command, env=server.environ, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: len(family(process.pid)) == 2)
        generator = family(process.pid)[1]
        process.send_signal(sent)
        _, said = process.communicate(timeout=TIMEOUT_S)
    until(lambda: family(generator) == [])
    assert process.returncode == code
    assert ("nothing was compared" in said) == (sent == signal.SIGINT)


@pytest.mark.long
def test_server_that_goes_away_ends_with_75(tmp_path: Path) -> None:
    with Server(tmp_path) as server:

        async def kill(number: int) -> None:
            if number == 5:
                server.kill()

        with front(server.port, kill) as url:
            done = run_here([*SHORT, *ANY_P99, url], server.environ)
    assert done.returncode == 75


def test_server_that_is_not_there_ends_with_75(tmp_path: Path) -> None:
    done = run_here([*SHORT, *ANY_P99, "--spike", "3", "http://127.0.0.1:9"], environment(tmp_path))
    assert done.returncode == 75


@pytest.mark.parametrize("options", [["--p99", "0"], ["--spike", "0.5"], ["--p99", "soon"]])
def test_numbers_without_a_meaning_end_with_2(options: list[str], tmp_path: Path) -> None:
    assert run_here([*SHORT, *options], environment(tmp_path)).returncode == 2


def slices(**given: Any) -> list[Slice]:
    """The slices of a run of ten seconds at 100 requests a second with a spike."""
    rates, at = with_spike(100.0, 5.0)
    usual = {"p50": 1.0, "p99": 2.0, "max": 3.0, "given_up": 0}
    found = []
    for number, rate in enumerate(rates):
        own = {"requests": int(rate), "acknowledged": int(rate), "at_end": int(rate), "in_time": int(rate)}
        found.append(Slice(rate=rate, **(usual | own | (given if number == at else {}))))
    return found


def judged(found: list[Slice], p99: float = 5.0, counted: int | None = 1400, **given: Any) -> list[bool]:
    rates, spike = with_spike(100.0, 5.0)
    plan = Plan(
        host="", port=1, headers="", site="", rates=rates, seconds=10.0, run="00000000", connections=1, spike=spike
    )
    usual: dict[str, Any] = {"latency": {}, "usual": {"p99": p99, "max": p99}, "late": {"p99": 9.0}}
    usual |= {"requests": 1400, "seconds": 10.0, "statuses": {}, "codes": {}, "late_share": 0.0, "cpu_s": 0.0}
    usual |= {"acknowledged": 1400, "unanswered": 0, "waited_for_connection": 0, "slices": found}
    result = Result(outcome=Outcome(**(usual | given)), events=1, counted=counted, uses=[])
    reached = findings(plan, result, 5.0)
    lines = list(misses(plan, result, reached))
    missed = sum(not each.is_reached for each in reached)
    assert len(lines) == (missed + 1 if missed else 0)  # the last one: the generator fell behind
    assert not missed or "fell behind" in lines[-1]
    return [each.is_reached for each in reached]


def with_first(**given: int) -> list[Slice]:
    found = slices()
    for name, value in given.items():
        setattr(found[0], name, value)
    return found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (judged(slices()), [True, True, True, True]),
        (judged(slices(acknowledged=400, in_time=0, given_up=100)), [True, True, True, True]),
        (judged(slices(acknowledged=400)), [True, False, True, True]),
        (judged(with_first(in_time=92)), [True, True, True, True]),
        (judged(with_first(in_time=91)), [False, True, True, True]),
        (judged(with_first(acknowledged=99, given_up=1)), [True, False, True, True]),
        (judged(slices(), p99=5.001), [True, True, False, True]),
        (judged(slices(), p99=0.0), [True, True, False, True]),  # no answer at all
        (judged(slices(), counted=None), [True, True, True, False]),
        (judged(slices(), counted=1399), [True, True, True, False]),
        (judged(slices(), counted=1401), [True, True, True, False]),
        (judged(slices(), counted=1401, unanswered=1), [True, True, True, True]),
    ],
)
def test_rate_answers_p99_and_count_are_judged(found: list[bool], expected: list[bool]) -> None:
    assert found == expected
