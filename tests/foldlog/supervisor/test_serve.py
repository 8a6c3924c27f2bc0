"""`foldlog serve` as an operator starts and stops it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.sealed import active_segments, sealed_segments
from tests.builders.server import Server, environment, run_foldlog
from tests.builders.waiting import until

EVENT = {"name": "pageview", "visitor": "visitor-1", "url": "https://example.com/a"}


@pytest.mark.long
def test_first_start_creates_a_token_and_prints_it_once(tmp_path: Path) -> None:
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
def test_second_serve_on_the_same_port_is_rejected(tmp_path: Path) -> None:
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
def test_sigusr1_seals_and_ends_no_process(tmp_path: Path) -> None:
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


def test_no_child_outlives_its_supervisor(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        pid = server.running.pid
        family = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        os.kill(pid, signal.SIGKILL)
        server.running.wait()
        until(lambda: not any(Path(f"/proc/{child}").exists() and _state(child) != "Z" for child in family))
        server.process = None
        server.start()


@pytest.mark.long
def test_crash_in_native_code_writes_the_python_stack(tmp_path: Path) -> None:
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


def test_data_of_a_newer_format_is_rejected(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    data.root.mkdir()
    data.snapshot.write_text('{"format": 99}')
    rejected = run_foldlog(["serve"], environment(data.root, listen="127.0.0.1:1"))
    assert rejected.returncode == 2
    assert "format 99" in rejected.stderr and "newer" in rejected.stderr
    assert data.snapshot.read_text() == '{"format": 99}'


def test_data_directory_that_is_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    rejected = run_foldlog(["serve"], environment(tmp_path / "data", listen="127.0.0.1:1"))
    assert (rejected.returncode, rejected.stdout) == (2, "")
    assert rejected.stderr == f"foldlog: {tmp_path / 'data'} is not a directory; set FOLDLOG_DATA_DIR\n"
