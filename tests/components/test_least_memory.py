"""Every command stays within the least memory that may be set, over events nearly as
large as the API takes, and says exact numbers.

A sort of the flood as a whole needs more than that memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from tests.builders.floods import fat_events
from tests.builders.logs import data_directory, sealed
from tests.builders.server import environment

# What a command may take on a busy host.
COMMAND_S = 900
DAY = ("--from", "2026-11-22", "--to", "2026-11-22", "--bots", "include")


def flooded(root: Path, events: int) -> DataDirectory:
    data = data_directory(root)
    lines = fat_events(events)
    while part := list(islice(lines, 2000)):
        sealed(data, part)
    return data


def run(data: DataDirectory, *arguments: str) -> str:
    least = {"FOLDLOG_FOLD_MEMORY": "256MiB", "FOLDLOG_REPORT_MEMORY": "256MiB"}
    command = [sys.executable, "-m", "foldlog", *arguments]
    environ = environment(data.root) | least
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, (arguments, done.stdout[-1000:], done.stderr[-1000:])
    return done.stdout


def counted(data: DataDirectory) -> tuple[int, int]:
    """Events and visitors of the day, as a report says."""
    total = json.loads(run(data, "report", *DAY, "--json"))["total"]
    return total["events"], total["visitors"]


@pytest.mark.long
@pytest.mark.timeout(6 * COMMAND_S)
@pytest.mark.parametrize("events", [12_000, pytest.param(25_000, marks=pytest.mark.whole)])
def test_every_command(tmp_path: Path, events: int) -> None:
    data = flooded(tmp_path / "data", events)
    run(data, "compact", "--once")
    assert counted(data) == (events, 2)
    assert run(data, "report", *DAY, "--by", "props.k3", "--filter", "props.k1!=none", "--csv").count("\n") == 101
    lines = run(data, "export", "--from", "2026-11-22", "--to", "2026-11-22").splitlines()
    times = [line[line.index('"time":') :][:40] for line in lines]
    assert len(times) == events and times == sorted(times)
    del lines
    run(data, "rebuild")
    assert counted(data) == (events, 2)
    run(data, "erase", "--visitor", "visitor-2")
    assert counted(data) == (events - events // 10, 1)
    assert "nothing wrong" in run(data, "verify")
    assert load_snapshot(data).totals.erased == events // 10
