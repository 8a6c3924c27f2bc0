"""No process of a running service can leave a core dump, and all units say so, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foldlog.doctor.host_probe import user_of
from tests.builders.pages import ROOT
from tests.builders.processes import children
from tests.builders.server import Server

USER = 65534
UNITS = ("foldlog.service", "foldlog-ingest@.service", "foldlog-compact.service")
CRASH = """
import os, sys
if sys.argv[1] == "forbidden":
    from shared.core_dumps import forbid_core_dumps
    forbid_core_dumps()
else:
    import resource
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]  # a test before may have lowered it
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.abort()
"""
SHOW = """
import os
from shared.core_dumps import forbid_core_dumps
os.setgroups([]); os.setgid(65534); os.setuid(65534)
forbid_core_dumps()
print(os.stat("/proc/self/environ").st_uid, flush=True)
input()
"""


def core_limit(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text("ascii").splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


def test_supervisor_worker_compactor_and_reader_make_no_dump(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.get("/admin/api/report").status == 200
        pids = descendants(server.running.pid)
        assert len(set(pids)) >= 4, "serve, ingest, compact, reader"
        assert [core_limit(pid) for pid in pids] == [["0", "0"]] * len(pids)


def test_process_that_forbids_it_leaves_no_dump(tmp_path: Path) -> None:
    status = {}
    for kind in ("forbidden", "allowed"):
        process = subprocess.Popen([sys.executable, "-c", CRASH, kind], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        _, status[kind] = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status[kind])
        assert process.returncode == -signal.SIGABRT
    assert not os.WCOREDUMP(status["forbidden"])


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
def test_memory_of_a_process_belongs_to_root_and_its_user_is_still_known() -> None:
    command = [sys.executable, "-c", SHOW]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline().strip() == "0"
        assert user_of(process.pid) == USER
        process.communicate("\n")


@pytest.mark.parametrize("unit", UNITS)
def test_units_allow_no_dump(unit: str) -> None:
    assert "\nLimitCORE=0\n" in (ROOT / "systemd" / unit).read_text("utf-8")


def descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        found += children(parent)
    return found
