"""`foldlog serve` and the commands beside it, as an operator uses them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foldlog.arguments import COMMANDS
from foldlog.cli import main
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.sealed import active_segments, sealed_segments
from tests.builders.server import Server, environment, run_foldlog
from tests.builders.waiting import until

EVENT = {"name": "pageview", "visitor": "visitor-1", "url": "https://example.com/a"}


@pytest.mark.long
def test_first_start_makes_a_token_and_prints_it_once(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data", listen="127.0.0.1:0")
    with Server(tmp_path, admin_token="") as server:
        printed = re.search(r"fl_admin_\S+", server.stderr())
        assert printed and f"http://{server.host}/admin/" in server.stderr()
        token = {"Authorization": f"Bearer {printed[0]}"}
        assert server.request("GET", "/admin/api/status", headers=token).status == 200
        kept = server.data.tokens
        assert printed[0] not in kept.read_text()
        assert kept.stat().st_mode & 0o777 == 0o600
        assert server.data.private.stat().st_mode & 0o777 == 0o700
        server.stop()
        server.stderr_path.write_text("")
        server.start()
        assert "fl_admin_" not in server.stderr()
    assert environ


@pytest.mark.long
def test_second_serve_on_the_same_port_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        second = run_foldlog(["serve"], environment(tmp_path / "other", listen=server.host))
        assert second.returncode == 75
        assert server.host in second.stderr


def test_sigterm_commits_seals_and_ends(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        for _ in range(10):
            assert server.post([EVENT]).status == 200
        assert server.stop() == 0
        assert active_segments(server.data) == {}
        assert sum(segment.path.read_bytes().count(b"\n") for segment in sealed_segments(server.data)) == 10


@pytest.mark.long
def test_sigusr1_seals_and_ends_nobody(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        pid = server.running.pid
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for round_ in range(1, 4):
            assert server.post([EVENT]).status == 200
            server.running.send_signal(signal.SIGUSR1)
            until(lambda round_=round_: len(sealed_segments(server.data)) == round_)  # type: ignore[misc]
        os.kill(server.child("compact"), signal.SIGUSR1)
        assert server.fold() == 1
        assert [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] == children


@pytest.mark.long
def test_sigusr1_seals_a_worker_that_runs_alone(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.post([EVENT]).status == 200
        os.kill(server.child("ingest-0"), signal.SIGUSR1)
        until(lambda: len(sealed_segments(server.data)) == 1)
        assert not server.data.seal_request.exists()
        assert server.post([EVENT]).status == 200


@pytest.mark.long
def test_workers_share_one_port_and_have_a_segment_each(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        until(lambda: sorted(active_segments(server.data)) == ["0", "1"] and second_worker_listens(server))
        for _ in range(60):
            server.post([EVENT])
        assert all(path.stat().st_size for path in active_segments(server.data).values())
        server.fold()
        assert load_snapshot(server.data).folded == {"0": 1, "1": 1}
        assert load_snapshot(server.data).totals.counted == 60


def second_worker_listens(server: Server) -> bool:
    return server.stderr().count('"event":"worker_listening"') == 2


def test_nothing_keeps_running_without_its_supervisor(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        pid = server.running.pid
        family = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        os.kill(pid, signal.SIGKILL)
        server.running.wait()
        until(lambda: not any(Path(f"/proc/{child}").exists() and _state(child) != "Z" for child in family))
        server.process = None
        server.start()


@pytest.mark.long
def test_worker_that_a_library_takes_down_says_where_it_was(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        before = server.child("ingest-0")
        os.kill(before, signal.SIGSEGV)
        until(lambda: server.child("ingest-0") != before)
        assert re.search(r"Fatal Python error: Segmentation fault\n(?s:.*)ingest/worker\.py", server.stderr())


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_data_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    data.root.mkdir()
    data.snapshot.write_text('{"format": 99}')
    refused = run_foldlog(["serve"], environment(data.root, listen="127.0.0.1:1"))
    assert refused.returncode == 2
    assert "format 99" in refused.stderr and "newer" in refused.stderr
    assert data.snapshot.read_text() == '{"format": 99}'


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "required"),
        (["nonsense"], 2, "nonsense"),
        (["report", "--by", "nonsense"], 2, "by: must be one of event, site, path"),
        (["report", "--from", "yesterday"], 2, "from: must be a date such as"),
        (["status"], 2, "not a data directory"),
        (["verify"], 2, "not a data directory"),
        (["rotate"], 2, "not a data directory"),
        (["export"], 2, "not a data directory"),
        (["token", "list"], 2, "not a data directory"),
        (["token", "revoke", "1f0c93ab"], 2, "not a data directory"),
        (["import", "--site", "https://example.com", "access.log"], 2, "not a host name"),
        (["erase", "--visitor", "v-81f3", "--site", "example.com/"], 2, "not a host name"),
        (["import", "--site", "example.com", "missing.log"], 2, "missing.log"),
        (["ingest", "--writer", "A"], 2, "--writer takes"),
        (["import", "missing.log"], 2, "--site"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(
    tmp_path: Path,
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOLDLOG_DATA_DIR", str(tmp_path / "data"))
    assert exit_code(arguments) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.long
@pytest.mark.parametrize("command", ["serve", "status", "rotate", "rebuild", "retain", "doctor"])
def test_data_directory_that_is_a_file_is_said(tmp_path: Path, command: str) -> None:
    (tmp_path / "data").write_text("not a directory")
    refused = run_foldlog([command], environment(tmp_path / "data", listen="127.0.0.1:1"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"foldlog: {tmp_path / 'data'} is not a directory; set FOLDLOG_DATA_DIR\n"
    assert run_foldlog(["check-config"], environment(tmp_path / "data")).returncode == 0


def test_command_that_makes_a_data_directory_says_so_once(tmp_path: Path) -> None:
    """Typed in another directory than that of `foldlog serve`, it makes a second ./data
    and a token that nobody takes.
    """
    environ = environment(tmp_path / "data")
    made = run_foldlog(["token", "create"], environ)
    assert made.returncode == 0
    assert (
        made.stderr
        == f"foldlog: created the data directory {tmp_path / 'data'}; to use another one, set FOLDLOG_DATA_DIR\n"
    )
    assert run_foldlog(["token", "create"], environ).stderr == ""


def test_token_that_is_not_there_is_not_revoked(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data")
    run_foldlog(["token", "create"], environ)
    refused = run_foldlog(["token", "revoke", "nonsense"], environ)
    assert refused.returncode == 2 and "foldlog token list" in refused.stderr


def test_files_of_another_user_are_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data" / "log").mkdir(parents=True)
    os.chmod(tmp_path / "data", 0)
    try:
        command = [*without_the_rights_of_root(), sys.executable, "-m", "foldlog", "status"]
        refused = subprocess.run(
            command, env=environment(tmp_path / "data"), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        os.chmod(tmp_path / "data", 0o700)
    assert refused.returncode == 75
    assert f"Permission denied: {tmp_path / 'data'}" in refused.stderr
    assert "run this as the user that Foldlog runs as" in refused.stderr and "foldlog doctor" in refused.stderr


def without_the_rights_of_root() -> list[str]:
    """What to put before a command so that modes of files hold for it: nothing, unless
    this is root.
    """
    if os.geteuid() != 0:
        return []
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]


@pytest.mark.long
def test_report_before_the_first_fold_says_that_there_was_none(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data")
    run_foldlog(["token", "create"], environ)
    shown = run_foldlog(["report"], environ)
    assert shown.returncode == 0
    assert "nothing has been folded yet" in shown.stdout and "1970" not in shown.stdout


def exit_code(arguments: list[str]) -> object:
    """As the process would end; the command runs in this one, for its start would take
    most of the time.
    """
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_screen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([*([name] if name else []), "--help"]) == 0
    assert capsys.readouterr().out.count("\n") <= 36


@pytest.mark.long
def test_commands_on_a_running_service(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.post([EVENT, {**EVENT, "name": "signup", "value": 9.5, "props": {"plan": "pro"}}])
        assert run_foldlog(["rotate"], server.environ).returncode == 0
        assert len(sealed_segments(server.data)) == 1
        server.fold()

        report = json.loads(run_foldlog(["report", "--by", "event", "--json"], server.environ).stdout)
        assert report["rows"] == [
            {"value": "pageview", "events": 1, "visitors": 1},
            {"value": "signup", "events": 1, "visitors": 1},
        ]
        csv = run_foldlog(["report", "--by", "event", "--csv"], server.environ).stdout
        assert csv == "value,events,visitors\npageview,1,1\nsignup,1,1\n"
        table = run_foldlog(["report", "--by", "event"], server.environ).stdout
        assert re.search(r"signup +1 +1", table) and re.search(r"total +2 +1", table)
        assert re.search(r"difference +0", run_foldlog(["status"], server.environ).stdout)
        assert json.loads(run_foldlog(["status", "--json"], server.environ).stdout)["balance"]["counted"] == 2
        exported = run_foldlog(["export"], server.environ).stdout.splitlines()
        assert sorted(json.loads(each)["event"] for each in exported) == ["pageview", "signup"]
        assert "value=9.5  plan=pro" in run_foldlog(["tail"], server.environ).stdout
        raw = run_foldlog(["tail", "--json", "-n", "1"], server.environ).stdout
        assert json.loads(raw)["name"] == "signup"
        assert run_foldlog(["tail", "-n", "0"], server.environ).stdout == ""


@pytest.mark.long
def test_tail_follows_all_writers_across_a_seal(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        command = [sys.executable, "-m", "foldlog", "tail", "-f", "--json", "-n", "100"]
        with subprocess.Popen(command, env=server.environ, stdout=subprocess.PIPE) as tail:
            assert tail.stdout is not None
            for number in range(20):
                server.post([{**EVENT, "id": f"event-{number:03d}"}])
                if number == 10:
                    run_foldlog(["rotate"], server.environ)
            seen = [json.loads(tail.stdout.readline())["id"] for _ in range(20)]
            tail.terminate()
        assert sorted(seen) == [f"event-{number:03d}" for number in range(20)]


@pytest.mark.long
def test_token_is_made_listed_and_revoked(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        made = run_foldlog(["token", "create", "--scope", "read"], server.environ).stdout
        secret, id_ = made.split()[0], re.search(r"\(id (\w+)", made)
        assert id_
        headers = {"Authorization": f"Bearer {secret}"}
        assert server.request("GET", "/admin/api/status", headers=headers).status == 200
        assert id_[1] in run_foldlog(["token", "list"], server.environ).stdout
        assert run_foldlog(["token", "revoke", id_[1]], server.environ).returncode == 0
        assert server.request("GET", "/admin/api/status", headers=headers).status == 401


def test_check_config_shows_no_secret(tmp_path: Path) -> None:
    shown = run_foldlog(["check-config"], environment(tmp_path, admin_token="hidden-secret", workers=3))  # noqa: S106
    assert "hidden-secret" not in shown.stdout
    assert re.search(r"FOLDLOG_WORKERS +3", shown.stdout)
    wrong = run_foldlog(["check-config"], environment(tmp_path, workers=0))
    assert wrong.returncode == 2 and "FOLDLOG_WORKERS takes 1 to 64" in wrong.stderr
