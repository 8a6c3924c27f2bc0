"""GET /admin/api/doctor: one run at a time, for a limited time; many get its answer."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import foldlog.commands.ingest
import ingest.observe.doctor
from foldlog.arguments import make_parser
from foldlog.commands import Invocation
from foldlog.log_output import open_log
from ingest.observe.doctor import Doctor, DoctorAnswer, DoctorCommand, NoAnswer
from ingest.worker import Start
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings, load
from shared.timestamps import epoch_ms, now_ms
from shared.tokens import create_token
from tests.builders.logs import data_directory
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, bearer, environment
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S, until
from tests.builders.worker import Worker

DOCTOR = "/admin/api/doctor"
FINDING = {"check": "writing", "level": "ok", "found": "all is well", "do": ""}
# A program in the doctor's place: it notes its process, waits, and says something.
STAND_IN = """
import os, sys, time
with open({runs!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")
time.sleep({seconds})
print({said!r})
sys.exit({code})
"""


def stand_in(runs: Path, seconds: float = 0, said: str = json.dumps([FINDING]), code: int = 0) -> DoctorCommand:
    script = STAND_IN.format(runs=str(runs), seconds=seconds, said=said, code=code)
    return DoctorCommand((), dict(os.environ), (sys.executable, "-c", script))


@contextmanager
def worker_with(tmp_path: Path, command: Callable[[Path], DoctorCommand]) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    worker.doctor = command(tmp_path / "runs")
    with worker:
        yield worker


def runs(tmp_path: Path) -> list[int]:
    """The processes that ran in the doctor's place."""
    path = tmp_path / "runs"
    return [int(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


def ask(worker: Worker) -> Answer:
    return worker.request("GET", DOCTOR, headers=bearer(ADMIN_TOKEN))


def test_doctor_of_this_server_answers_without_a_secret(tmp_path: Path) -> None:
    hidden = "correct-horse-battery"
    worker = Worker(tmp_path, sites="shop.example")
    worker.environ["DATABASE_URL"] = f"mysql://user:{hidden}@db.example/stats"
    with worker:
        answer = ask(worker)
        assert answer.status == 200, answer.body
        found = {each["check"]: each for each in answer.json()["findings"]}
        assert str(worker.data.root) in found["data directory"]["found"]
        assert found["DATABASE_URL"]["level"] == "warning"
        assert all(each["do"] for each in found.values() if each["level"] in {"warning", "wrong"})
        assert abs(epoch_ms(answer.json()["at"]) - now_ms()) < 1000 * TIMEOUT_S
        assert answer.headers["Cache-Control"] == "no-store"
        for secret in (hidden, ADMIN_TOKEN, INGEST_KEY):
            assert secret.encode() not in answer.body
        kept = worker.data.doctor_answer
        assert kept.stat().st_mode & 0o777 == 0o600 and ask(worker).body == answer.body


def test_many_questions_at_once_and_after_cost_one_run(tmp_path: Path) -> None:
    with worker_with(tmp_path, lambda path: stand_in(path, seconds=1)) as worker:
        with ThreadPoolExecutor(16) as pool:
            answers = [each.result() for each in [pool.submit(ask, worker) for _ in range(40)]]
        assert {each.status for each in answers} == {200}
        assert {each.body for each in answers} == {ask(worker).body}
        assert answers[0].json()["findings"] == [FINDING]
        assert len(runs(tmp_path)) == 1


async def test_workers_of_one_host_take_turns_and_share_the_answer(tmp_path: Path) -> None:
    data, log = data_directory(tmp_path / "data"), SilentLog()
    data.run.mkdir(exist_ok=True)
    command = stand_in(tmp_path / "runs", seconds=1)
    workers = [Doctor(command, data, log, now_ms, lambda: False) for _ in range(3)]
    found = await asyncio.gather(*(each.answer() for each in workers))
    assert all(isinstance(each, DoctorAnswer) for each in found)
    assert len({each.at for each in found if isinstance(each, DoctorAnswer)}) == 1
    assert len(runs(tmp_path)) == 1


def test_answer_grows_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.observe.doctor, "KEPT_S", 0.0)
    with worker_with(tmp_path, stand_in) as worker:
        assert [ask(worker).status for _ in range(2)] == [200, 200]
        assert len(runs(tmp_path)) == 2


FAILURES: dict[str, Callable[[Path], DoctorCommand]] = {
    "no JSON": lambda path: stand_in(path, said="Traceback …"),
    "JSON of another kind": lambda path: stand_in(path, said='{"secret": "x"}'),
    "a finding with more": lambda path: stand_in(path, said=json.dumps([FINDING | {"secret": "x"}])),
    "try again": lambda path: stand_in(path, code=75),
    "a program that is not there": lambda path: DoctorCommand((), {}, ("/nonexistent/python",)),
}


@pytest.mark.parametrize("command", FAILURES.values(), ids=FAILURES)
def test_doctor_that_fails_is_a_problem_and_is_not_run_again_at_once(
    tmp_path: Path, command: Callable[[Path], DoctorCommand]
) -> None:
    with worker_with(tmp_path, command) as worker:
        for _ in range(3):
            answer = ask(worker)
            assert (answer.status, answer.code) == (503, "doctor_failed")
            assert answer.headers["Retry-After"] == "30"
        assert len(runs(tmp_path)) <= 1
        assert worker.log.events().count("doctor_failed") == 1


def test_findings_that_are_wrong_are_an_answer(tmp_path: Path) -> None:
    wrong = json.dumps([FINDING | {"level": "wrong", "do": "mend it"}])
    with worker_with(tmp_path, lambda path: stand_in(path, said=wrong, code=1)) as worker:
        assert ask(worker).json()["findings"][0]["do"] == "mend it"


def test_doctor_that_takes_too_long_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.observe.doctor, "RUN_MAX_S", 2.0)
    with worker_with(tmp_path, lambda path: stand_in(path, seconds=600)) as worker:
        answer = ask(worker)
        assert (answer.status, answer.code) == (503, "doctor_timeout")
        assert not any(is_running(pid) for pid in runs(tmp_path))


def test_worker_that_stops_kills_the_doctor(tmp_path: Path) -> None:
    with worker_with(tmp_path, lambda path: stand_in(path, seconds=600)) as worker, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, worker)
        until(lambda: runs(tmp_path))
        worker.__exit__(None, None, None)
        assert asked.result(TIMEOUT_S).code == "stopping"
        (pid,) = runs(tmp_path)
        assert not is_running(pid)


async def test_damaged_or_future_answer_of_another_worker_is_not_shown(tmp_path: Path) -> None:
    data, log = data_directory(tmp_path / "data"), SilentLog()
    data.run.mkdir(exist_ok=True)
    for kept in (b"{", b'{"at":"2999-01-01T00:00:00.000Z","seconds":1,"findings":[]}', b'{"at":"x"}'):
        data.doctor_answer.write_bytes(kept)
        found = await Doctor(stand_in(tmp_path / "runs"), data, log, now_ms, lambda: False).answer()
        assert not isinstance(found, NoAnswer) and [each.check for each in found.findings] == ["writing"]
    assert len(runs(tmp_path)) == 3


@pytest.mark.parametrize("config", [[], ["--config", "/etc/foldlog.toml"]], ids=["environment", "file"])
def test_doctor_has_the_settings_of_its_worker(
    tmp_path: Path, config: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker hands on where its settings come from: a file, and its environment."""
    started: list[Start] = []

    def kept(_settings: Settings, _writer: str, _log: Log, start: Start) -> int:
        started.append(start)
        return 0

    monkeypatch.setattr(foldlog.commands.ingest, "run_worker", kept)
    monkeypatch.setenv("FOLDLOG_SITES", "shop.example")
    settings = load(environment(tmp_path / "data"))
    options = make_parser().parse_args([*config, "ingest", "--writer", "0"])
    foldlog.commands.ingest.run(
        Invocation(options, settings, DataDirectory(settings.data_dir), open_log(settings, "ingest"))
    )
    (start,) = started
    assert start.doctor.arguments == (sys.executable, "-m", "foldlog", *config, "doctor", "--json")
    assert start.doctor.environ["FOLDLOG_SITES"] == "shop.example"


def test_only_an_admin_of_all_sites_asks_and_no_parameter_is_taken(tmp_path: Path) -> None:
    with worker_with(tmp_path, stand_in) as worker:
        made = [create_token(worker.data, "read")[1], create_token(worker.data, "admin", sites=["shop.example"])[1]]
        for secret in (INGEST_KEY, *made):
            answer = worker.request("GET", DOCTOR, headers=bearer(secret))
            assert (answer.status, answer.code) == (403, "scope")
        assert worker.request("GET", DOCTOR).code == "token"
        assert worker.request("GET", f"{DOCTOR}?fast=1", headers=bearer(ADMIN_TOKEN)).code == "query"
        assert runs(tmp_path) == []
