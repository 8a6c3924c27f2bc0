"""The command line: what is typed, what is printed, which exit code. Most commands run
in this process, because starting one takes longer than the command.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from foldlog.arguments import COMMANDS
from shared.segments.sealed import sealed_segments
from tests.builders.command import run_here
from tests.builders.server import Server, environment, run_foldlog

EVENT = {"name": "pageview", "visitor": "visitor-1", "url": "https://example.com/a"}
HELP_LINES_MAX = 36
MISTAKES: list[tuple[list[str], str]] = [
    ([], "required"),
    (["nonsense"], "nonsense"),
    (["report", "--by", "nonsense"], "by: must be one of event, site, path"),
    (["report", "--from", "yesterday"], "from: must be a date such as"),
    (["status"], "not a data directory"),
    (["verify"], "not a data directory"),
    (["rotate"], "not a data directory"),
    (["export"], "not a data directory"),
    (["token", "list"], "not a data directory"),
    (["token", "revoke", "1f0c93ab"], "not a data directory"),
    (["import", "--site", "https://example.com", "access.log"], "not a host name"),
    (["import", "--site", "example.com", "missing.log"], "missing.log"),
    (["import", "missing.log"], "there is no file missing.log"),
    (["import", "--format", "apache", "missing.log"], "there is no"),
    (["erase", "--visitor", "v-81f3", "--site", "example.com/"], "not a host name"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(typed) for typed, _ in MISTAKES])
def test_mistake_ends_with_2_and_a_sentence_and_creates_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_here(arguments, environment(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (tmp_path / "data").exists()


def test_wrong_writer_name_ends_with_2(tmp_path: Path) -> None:
    done = run_foldlog(["ingest", "--writer", "A"], environment(tmp_path / "data"))
    assert done.returncode == 2 and "--writer takes" in done.stderr


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_screen(name: str, tmp_path: Path) -> None:
    typed = [name, "--help"] if name else ["--help"]
    done = run_here(typed, environment(tmp_path) | {"COLUMNS": "80"})
    assert done.returncode == 0
    assert done.stdout.count("\n") <= HELP_LINES_MAX


@pytest.mark.parametrize("command", ["status", "rotate", "rebuild", "retain", "doctor"])
def test_data_directory_that_is_a_file_ends_with_2(tmp_path: Path, command: str) -> None:
    (tmp_path / "data").write_text("not a directory")
    done = run_here([command], environment(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"foldlog: {tmp_path / 'data'} is not a directory; set FOLDLOG_DATA_DIR\n"
    assert run_here(["check-config"], environment(tmp_path / "data")).returncode == 0


def test_creation_of_a_data_directory_is_announced_once(tmp_path: Path) -> None:
    """A command typed in another directory than that of `foldlog serve` creates a
    second ./data, and a token that no server accepts.
    """
    environ = environment(tmp_path / "data")
    created = run_here(["token", "create"], environ)
    assert created.returncode == 0
    assert created.stderr == (
        f"foldlog: created the data directory {tmp_path / 'data'}; to use another one, set FOLDLOG_DATA_DIR\n"
    )
    assert run_here(["token", "create"], environ).stderr == ""


def test_revoking_an_unknown_token_ends_with_2(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data")
    run_here(["token", "create"], environ)
    done = run_here(["token", "revoke", "nonsense"], environ)
    assert done.returncode == 2 and "foldlog token list" in done.stderr


def test_files_of_another_user_end_with_75_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data" / "log").mkdir(parents=True)
    os.chmod(tmp_path / "data", 0)
    try:
        command = [*without_root_privileges(), sys.executable, "-m", "foldlog", "status"]
        done = subprocess.run(
            command, env=environment(tmp_path / "data"), capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        os.chmod(tmp_path / "data", 0o700)
    assert done.returncode == 75
    assert f"Permission denied: {tmp_path / 'data'}" in done.stderr
    assert "run this as the user that Foldlog runs as" in done.stderr and "foldlog doctor" in done.stderr


def without_root_privileges() -> list[str]:
    """The prefix of a command for which file modes count. Empty unless this is root."""
    if os.geteuid() != 0:
        return []
    privileges = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={privileges}", f"--inh-caps={privileges}"]


def test_report_before_the_first_fold_mentions_it(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data")
    run_here(["token", "create"], environ)
    done = run_here(["report"], environ)
    assert done.returncode == 0
    assert "nothing has been folded yet" in done.stdout and "1970" not in done.stdout


def test_check_config_prints_no_secret(tmp_path: Path) -> None:
    done = run_here(["check-config"], environment(tmp_path, admin_token="hidden-secret-of-the-test", workers=3))  # noqa: S106
    assert "hidden-secret" not in done.stdout
    assert re.search(r"FOLDLOG_WORKERS +3", done.stdout)
    wrong = run_here(["check-config"], environment(tmp_path, workers=0))
    assert wrong.returncode == 2 and "FOLDLOG_WORKERS takes 1 to 64" in wrong.stderr


@pytest.mark.long
def test_commands_on_a_running_service(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        environ = server.environ
        server.post([EVENT, {**EVENT, "name": "signup", "value": 9.5, "props": {"plan": "pro"}}])
        assert run_here(["rotate"], environ).returncode == 0
        assert len(sealed_segments(server.data)) == 1
        server.fold()

        report = json.loads(run_here(["report", "--by", "event", "--json"], environ).stdout)
        assert report["rows"] == [
            {"value": "pageview", "events": 1, "visitors": 1},
            {"value": "signup", "events": 1, "visitors": 1},
        ]
        csv = run_here(["report", "--by", "event", "--csv"], environ).stdout
        assert csv == "value,events,visitors\npageview,1,1\nsignup,1,1\n"
        table = run_here(["report", "--by", "event"], environ).stdout
        assert re.search(r"signup +1 +1", table) and re.search(r"total +2 +1", table)
        assert re.search(r"difference +0", run_here(["status"], environ).stdout)
        assert json.loads(run_here(["status", "--json"], environ).stdout)["balance"]["counted"] == 2
        exported = run_here(["export"], environ).stdout.splitlines()
        assert sorted(json.loads(each)["event"] for each in exported) == ["pageview", "signup"]
        assert "value=9.5  plan=pro" in run_here(["tail"], environ).stdout
        raw = run_here(["tail", "--json", "-n", "1"], environ).stdout
        assert json.loads(raw)["name"] == "signup"
        assert run_here(["tail", "-n", "0"], environ).stdout == ""


@pytest.mark.long
def test_tail_follows_all_writers_across_a_seal(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        command = [sys.executable, "-m", "foldlog", "tail", "-f", "--json", "-n", "100"]
        with subprocess.Popen(command, env=server.environ, stdout=subprocess.PIPE) as tail:
            assert tail.stdout is not None
            for number in range(20):
                server.post([{**EVENT, "id": f"event-{number:03d}"}])
                if number == 10:
                    run_here(["rotate"], server.environ)
            seen = [json.loads(tail.stdout.readline())["id"] for _ in range(20)]
            tail.terminate()
        assert sorted(seen) == [f"event-{number:03d}" for number in range(20)]


@pytest.mark.long
def test_token_is_created_listed_and_revoked(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        created = run_here(["token", "create", "--scope", "read"], server.environ).stdout
        secret, id_ = created.split()[0], re.search(r"\(id (\w+)", created)
        assert id_
        headers = {"Authorization": f"Bearer {secret}"}
        assert server.request("GET", "/admin/api/status", headers=headers).status == 200
        assert id_[1] in run_here(["token", "list"], server.environ).stdout
        assert run_here(["token", "revoke", id_[1]], server.environ).returncode == 0
        assert server.request("GET", "/admin/api/status", headers=headers).status == 401
