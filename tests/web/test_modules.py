"""The dashboard's modules: their types hold, and what is pure in them does what its
tests say. The tests in JavaScript are beside this one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "web" / "dashboard"
TESTS = sorted(Path(__file__).parent.glob("*.test.mjs"))

pytestmark = pytest.mark.component


def required(program: str | Path) -> str:
    """Its path; without it the test is skipped, or fails in CI."""
    found = shutil.which(program)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
    return found


def test_types_hold() -> None:
    """JSDoc types, strict. `make setup` installs the compiler where there is npm."""
    compiler = required(ROOT / ".venv" / "node_modules" / ".bin" / "tsc")
    done = subprocess.run([compiler, "-p", DASHBOARD / "tsconfig.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_there_are_tests_in_javascript() -> None:
    assert len(TESTS) >= 2


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.name)
def test_pure_modules(test: Path) -> None:
    environ = {**os.environ, "LC_ALL": "en_US.UTF-8", "TZ": "UTC"}
    command = [required("node"), "--test", str(test)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stdout
