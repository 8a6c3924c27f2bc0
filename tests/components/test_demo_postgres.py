"""`make demo-postgres` counts over both hosts, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.pages import ROOT
from tests.builders.postgres_kinds import required
from tests.builders.waiting import TIMEOUT_S, until

pytestmark = [pytest.mark.component, pytest.mark.long]

COMMAND = [sys.executable, "-m", "tests.components.demo_postgres"]


def test_demo_counts_each_event_once_and_ends_by_an_interrupt() -> None:
    required("packaged")
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        demo.send_signal(signal.SIGINT)
        said += demo.stdout.read()
        assert demo.wait(TIMEOUT_S) == 0, said
    assert len(re.findall("counts 500 events and 60 visitors over both hosts", said)) == 2
    folders = [Path(found) for found in re.findall(r"its data in (\S+)", said)]
    assert len(folders) == 2
    until(lambda: not any(folder.exists() for folder in folders))


def test_make_has_it() -> None:
    made = subprocess.run(["make", "-n", "demo-postgres"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    assert "tests.components.demo_postgres" in made.stdout
