"""The servers that tests of stores start: each kind keeps what it acknowledged, and
leaves nothing behind.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.builders.pages import ROOT
from tests.builders.postgres import DURABLE, Server, running
from tests.builders.postgres_kinds import KINDS, required
from tests.builders.processes import children
from tests.builders.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.long]

# Says where everything of its server is, and waits to be killed.
STARTED = """
from pathlib import Path
from tests.builders.postgres import running
with running(Path("{programs}")) as server:
    print(server.pid, server.url, flush=True)
    input()
"""


@pytest.fixture(params=KINDS, scope="module")
def programs(request: pytest.FixtureRequest) -> Path:
    return required(request.param)


@pytest.fixture(scope="module")
def server(programs: Path) -> Iterator[Server]:
    """One for the tests that stop it: each starts it again."""
    with running(programs) as server:
        execute(server, "CREATE TABLE noted (day text)")
        yield server


def test_it_answers_and_is_durable(server: Server, programs: Path) -> None:
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    (version,) = asked(server, "SELECT version()")
    assert version.split()[:2] == ["PostgreSQL", said.split()[2]]
    assert [asked(server, f"SHOW {name}") for name in DURABLE] == [["on"]] * 3


def test_it_keeps_a_commit_over_a_kill(server: Server) -> None:
    execute(server, "TRUNCATE noted", "INSERT INTO noted VALUES ('committed')")
    with closing(psycopg.connect(server.url)) as session:
        session.execute("INSERT INTO noted VALUES ('not committed')")
        family = [server.pid, *children(server.pid)]
        assert session.info.backend_pid in family
        server.kill()
        assert [pid for pid in family if is_alive(pid)] == []
        server.start()
    assert asked(server, "SELECT day FROM noted") == ["committed"]


def test_copy_has_yesterday_and_not_today(server: Server, programs: Path, tmp_path: Path) -> None:
    execute(server, "TRUNCATE noted", "INSERT INTO noted VALUES ('yesterday')")
    server.stop()
    server.backup(tmp_path / "copy")
    server.start()
    execute(server, "INSERT INTO noted VALUES ('today')")
    with running(programs, copy_of=tmp_path / "copy") as beside:
        assert asked(beside, "SELECT day FROM noted") == ["yesterday"]
        assert asked(server, "SELECT day FROM noted") == ["yesterday", "today"]
    server.kill()
    server.restore(tmp_path / "copy")
    server.start()
    assert asked(server, "SELECT day FROM noted") == ["yesterday"]


def test_start_that_fails_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match="nonsense"),
        running(required("packaged"), settings={"nonsense": "on"}),
    ):
        pass


def test_programs_may_be_in_a_folder_of_roots(tmp_path: Path) -> None:
    there, here = required("packaged"), tmp_path / "site-packages"
    here.symlink_to(there.parents[2])
    with running(here / there.relative_to(there.parents[2]), quick=True) as server:
        assert asked(server, "SHOW fsync") == ["off"]


def test_it_ends_with_the_tests_that_are_killed() -> None:
    command = [sys.executable, "-c", STARTED.format(programs=required("packaged"))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        pid, url = tests.stdout.readline().split()
        folders = folders_of(url)
        family = [int(pid), *children(int(pid))]
        assert all(folder.is_dir() for folder in folders)
        tests.send_signal(signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in family))
    until(lambda: not any(folder.exists() for folder in folders))


def test_nothing_is_left_behind(programs: Path) -> None:
    # Not in pytest's directory: the user that runs PostgreSQL for root may not look
    # into it.
    with tempfile.TemporaryDirectory() as name, running(programs, within=Path(name), quick=True) as server:
        pid, family = server.pid, [server.pid, *children(server.pid)]
        folders = folders_of(server.url)
        assert folders[0].parent == Path(name)
        assert shared_memory(pid) != []
        server.kill()
    assert [each for each in family if is_alive(each)] == []
    assert [folder for folder in folders if folder.exists()] == []
    assert shared_memory(pid) == []


def execute(server: Server, *statements: str) -> None:
    """Each committed by itself."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def asked(server: Server, query: str) -> list[str]:
    """The first column of the answer."""
    with psycopg.connect(server.url) as connection:
        return [row[0] for row in connection.execute(query.encode())]


def folders_of(url: str) -> list[Path]:
    """Those of a server's own: around its data, and of its socket."""
    with psycopg.connect(url) as connection:
        ((data,),) = connection.execute("SHOW data_directory")
        return [Path(data).parent, Path(connection.info.host)]


def is_alive(pid: int) -> bool:
    """Not gone, and not a zombie that its parent has not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def shared_memory(pid: int) -> list[str]:
    """The System V segments that this process has made: they outlive it."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [words[1] for words in map(str.split, lines) if words[4] == str(pid)]
