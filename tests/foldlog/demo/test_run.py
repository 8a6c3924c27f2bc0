"""The real command: what it counts is what it made, its link works once, and it leaves
nothing behind, however it ends.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from foldlog.demo.made import FUNNEL, Made
from shared.disk.layout import DataDirectory
from shared.exit_codes import TRY_AGAIN, USAGE
from shared.segments.sealed import active_segments
from shared.timestamps import epoch_ms, rfc3339
from tests.builders.demo import Demo, free_port, gone
from tests.builders.server import Answer, bearer, environment, verify
from tests.builders.waiting import until

SHOP, BLOG = "shop.localhost", "blog.localhost"
DAYS = "3"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One whose user has settings of his own, which it must not look at."""
    place = tmp_path_factory.mktemp("demo")
    own = {
        "FOLDLOG_DATA_DIR": str(place / "own"),
        "FOLDLOG_LISTEN": "127.0.0.1:1",
        "DATABASE_URL": "postgres://no.example/a",
    }
    with Demo(place / "tmp", "--days", DAYS, **own) as running:
        yield running
    assert not (place / "own").exists()


def exchange(demo: Demo, code: str) -> Answer:
    body = json.dumps({"code": code}).encode()
    return demo.request("POST", "/admin/api/sign-in", body, {"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def token(demo: Demo) -> str:
    """That of the link, which works once."""
    code = demo.links()[0].partition("#code=")[2]
    answer = exchange(demo, code)
    assert answer.status == 200
    assert exchange(demo, code).status == 401
    return str(answer.json()["token"])


@pytest.fixture(scope="module")
def made(demo: Demo) -> Made:
    return msgspec.json.decode((demo.root / "made.json").read_bytes(), type=Made)


def test_link_is_for_a_code_in_the_fragment_and_shows_no_token(demo: Demo, token: str) -> None:
    address, _, code = demo.links()[0].partition("#code=")
    assert address == f"http://127.0.0.1:{demo.port}/admin/"
    assert token not in demo.said()
    for path in (path for path in demo.root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert token.encode() not in content and code.encode() not in content, path


@pytest.mark.parametrize("site", [SHOP, BLOG])
def test_reports_count_what_was_made(demo: Demo, token: str, made: Made, site: str) -> None:
    # The trickle began later.
    end = rfc3339(epoch_ms(made.until) + 1)
    query = f"from=2000-01-01T00:00:00Z&to={end}&site={site}"
    report = demo.request("GET", f"/admin/api/report?{query}&by=event", headers=bearer(token)).json()
    expected = {name: (count.events, count.visitors) for name, count in made.sites[site].events.items()}
    assert {row["value"]: (row["events"], row["visitors"]) for row in report["rows"]} == expected
    total = made.sites[site].total
    assert report["total"] == {"events": total.events, "visitors": total.visitors}


def test_funnel_loses_at_each_step_whom_the_generator_lost(demo: Demo, token: str, made: Made) -> None:
    steps = ["path=~/teas/*", *(f"event=={name}" for name in FUNNEL[1:])]
    end = rfc3339(epoch_ms(made.until) + 1)
    asked = {"from": "2000-01-01T00:00:00Z", "to": end, "site": SHOP, "window": "1d", "steps": ";;".join(steps)}
    funnel = demo.request("GET", f"/admin/api/funnel?{urlencode(asked)}", headers=bearer(token)).json()
    assert [step["visitors"] for step in funnel["steps"]] == [made.sites[SHOP].steps[step] for step in FUNNEL]


def test_steps_of_the_funnel_are_what_was_made(demo: Demo, token: str, made: Made) -> None:
    """Counted once more from the archive, as anybody can."""
    end = rfc3339(epoch_ms(made.until) + 1)
    exported = demo.request("GET", f"/admin/api/export?from=2000-01-01T00:00:00Z&to={end}", headers=bearer(token))
    reached: dict[str, set[str]] = {step: set() for step in FUNNEL}
    for event in map(json.loads, exported.body.splitlines()):
        if event["site"] == SHOP and not event["bot"]:
            is_tea = event["event"] == "pageview" and event["path"].startswith("/teas/")
            reached.get(FUNNEL[0] if is_tea else event["event"], set()).add(event["visitor"])
    assert {step: len(visitors) for step, visitors in reached.items()} == made.sites[SHOP].steps


def test_goals_are_kept_and_count_what_was_made(demo: Demo, token: str, made: Made) -> None:
    end = rfc3339(epoch_ms(made.until) + 1)
    query = f"from=2000-01-01T00:00:00Z&to={end}&tz=UTC"
    report = demo.request("GET", f"/admin/api/goals/report?{query}", headers=bearer(token)).json()
    found = {goal["goal"]: (goal["events"], goal["visitors"]) for goal in report["goals"]}
    orders, signups = made.sites[SHOP].events["order"], made.sites[BLOG].events["newsletter_signup"]
    expected = {"order": orders, "newsletter signup": signups}
    assert found == {name: (count.events, count.visitors) for name, count in expected.items()}
    values = {goal["goal"]: goal["value_sum"] for goal in report["goals"]}
    assert values["order"] == orders.value


def test_visits_go_on_arriving_and_are_counted(demo: Demo, token: str, made: Made) -> None:
    def counted() -> int:
        status = demo.request("GET", "/admin/api/status", headers=bearer(token)).json()
        assert status["balance"]["difference"] == 0
        return int(status["balance"]["counted"])

    until(lambda: counted() > made.lines)
    lines = [line for line in demo.lines() if line["received"] > made.until]
    assert {line["site"] for line in lines} <= {SHOP, BLOG}
    assert all(line["country"] and line["consent"] == "granted" for line in lines)


def test_enter_prints_another_link(demo: Demo, token: str) -> None:
    os.write(demo.terminal, b"\n")
    until(lambda: len(demo.links()) == 2, demo.said)
    answer = exchange(demo, demo.links()[1].partition("#code=")[2])
    assert (answer.status, answer.json()["token"] != token) == (200, True)


def test_directory_is_for_its_owner_and_the_server_for_this_host(demo: Demo) -> None:
    assert stat.S_IMODE(demo.root.stat().st_mode) == 0o700
    listening = Path("/proc/net/tcp").read_text().splitlines()
    (local,) = [row.split()[1] for row in listening if row.split()[1].endswith(f":{demo.port:04X}") and " 0A " in row]
    assert local.startswith("0100007F:")


def test_port_that_is_taken_is_said(demo: Demo, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "foldlog", "demo", "--port", str(demo.port)]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment(tmp_path) | {"TMPDIR": str(tmp_path)}
    )
    assert ended.returncode == TRY_AGAIN
    assert f"another process listens on 127.0.0.1:{demo.port}" in ended.stderr
    until(lambda: gone(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    with Demo(tmp_path / "tmp", "--days", "1") as demo:
        assert demo.stop(number) == 0
        assert "nothing is left behind" in demo.said()
        assert gone(demo.directory)
        assert "Traceback" not in demo.said() and "nanobind" not in demo.said()


def test_nothing_is_left_behind_of_a_killed_one(tmp_path: Path) -> None:
    with Demo(tmp_path / "tmp", "--days", "1") as demo:
        demo.kill()
        until(lambda: gone(demo.directory))


def test_nothing_is_left_behind_of_one_that_is_killed_while_it_counts(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "tmp", "--days", "5")
    until(lambda: "Counting" in demo.said(), demo.said)
    demo.kill()
    until(lambda: gone(demo.directory))


def test_kept_one_stays_is_whole_and_is_not_written_over(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with Demo(kept, "--days", "1", "--keep", str(kept)) as demo:
        assert demo.stop(signal.SIGTERM) == 0
        assert f"foldlog --config {kept}/foldlog.toml serve" in demo.said()
    data = DataDirectory(kept / "data")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert active_segments(data) == {}
    verify(data, environment(data.root, sites=f"{SHOP},{BLOG}"))
    command = [sys.executable, "-m", "foldlog", "demo", "--keep", str(kept), "--port", str(free_port())]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, "not an empty directory" in ended.stderr) == (USAGE, True)
