"""`foldlog bench` says what the server did, and does not end well when an acknowledged
event is not counted.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foldlog.cli import main
from foldlog.load.plan import Outcome
from foldlog.load.run import Result, make_plan, run
from foldlog.load.sampling import family
from foldlog.load.target import make_target
from shared.settings import Settings, SettingsError
from tests.builders.logs import lose_a_segment
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Server, run_foldlog

SMALL = ["bench", "--rate", "150", "--seconds", "1", "--warm-up", "0.5", "--connections", "8"]


@pytest.mark.long
def test_run_is_compared_and_the_processes_are_sampled(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.post([{"name": "foldlog-bench"}])  # of an earlier run: not of this one
        done = run_foldlog([*SMALL, "--events", "3", "--json"], server.environ)
        found = json.loads(done.stdout)
    outcome = found["outcome"]
    assert done.returncode == 0, done.stderr
    assert "events named foldlog-bench" in done.stderr
    assert outcome["statuses"] == {"200": outcome["requests"]}
    assert outcome["acknowledged"] == outcome["requests"] * 3 == found["counted"] > 300
    assert 0 < outcome["latency"]["p50"] <= outcome["latency"]["p99.9"] <= outcome["latency"]["max"]
    assert {use["name"] for use in found["uses"]} >= {"serve", "ingest 0", "compact"}
    assert all(use["rss_mib"][-1] > 1 and len(use["at_s"]) == len(use["cpu_s"]) >= 2 for use in found["uses"])


@pytest.mark.long
def test_lost_event_is_found_and_ends_with_1(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), Server(tmp_path, segment_max_age=1) as server:  # verify misses the segment, too
        thief = lose_a_segment(server.data)
        done = run_foldlog([*SMALL, "--seconds", "3"], server.environ)
        thief.join()
    assert done.returncode == 1, done.stdout
    assert "NOT WHAT WAS ACKNOWLEDGED" in done.stdout


@pytest.mark.long
def test_without_a_reading_token_nothing_is_compared(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        (tmp_path / "key").write_text(f"{INGEST_KEY}\n")
        environ = server.environ | {"FOLDLOG_DATA_DIR": str(tmp_path / "other"), "FOLDLOG_ADMIN_TOKEN": ""}
        done = run_foldlog([*SMALL, "--key-file", str(tmp_path / "key"), f"http://{server.host}"], environ)
        assert done.returncode == 0
        assert "not compared" in done.stdout


@pytest.mark.long
def test_rate_limit_applies_to_a_page(tmp_path: Path) -> None:
    with Server(tmp_path, rate_limit=50) as server:
        target = make_target(None, None, f"http://{server.host}", Settings(listen=("127.0.0.1", server.port)))
        result = run(target, make_plan(target, [150.0], 1.0, connections=8))
    assert result.counted is None
    assert result.outcome.statuses["200"] in {50, 51}  # while the load runs, a request's worth of the window may pass
    assert result.outcome.codes == {"rate_limit": result.rejected}


def test_other_hosts_are_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "http://192.0.2.1:8080"]) == 2
    assert "on this host only" in capsys.readouterr().err


def test_missing_server_ends_with_75(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    assert main([*SMALL, "--key-file", str(tmp_path / "key"), "http://127.0.0.1:9"]) == 75


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1", "http://localhost.example.com", "ftp://localhost", "127.0.0.1:80"]
)
def test_target_is_http_on_this_host(url: str) -> None:
    with pytest.raises(SettingsError):
        make_target(url, "key", None, Settings())


def test_target_needs_a_key_or_an_origin() -> None:
    with pytest.raises(SettingsError, match="--key-file"):
        make_target(None, None, None, Settings())
    target = make_target("http://[::1]:8081/", "key", None, Settings(admin_token=ADMIN_TOKEN))
    assert (target.host, target.port, target.token, target.url) == ("::1", 8081, ADMIN_TOKEN, "http://[::1]:8081")


def test_family_of_an_exited_process_is_empty() -> None:
    assert family(2**22 + 1) == []


@pytest.mark.parametrize(
    ("counted", "unanswered", "lossy"), [(10, 0, False), (9, 0, True), (11, 0, True), (14, 2, False), (15, 2, True)]
)
def test_unanswered_requests_may_be_counted_or_not(counted: int, unanswered: int, lossy: bool) -> None:
    assert result(counted, unanswered).is_lossy is lossy


def result(counted: int, unanswered: int) -> Result:
    outcome = Outcome(
        requests=5,
        seconds=1.0,
        statuses={"200": 5},
        codes={},
        acknowledged=10,
        unanswered=unanswered,
        latency={},
        late={},
        late_share=0.0,
        waited_for_connection=0,
        slices=[],
        cpu_s=0.0,
    )
    return Result(outcome=outcome, events=2, counted=counted, uses=[])
