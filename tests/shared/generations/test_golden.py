"""The current code reads data directories of every release with the same results, and
continues them.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from compactor.repair.rebuild import rebuild
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.builders.golden import SETTINGS, read
from tests.builders.logs import NOON, fold_all
from tests.builders.server import environment, verify
from tests.builders.silent_log import SilentLog

GOLDEN = sorted((Path(__file__).parents[2] / "data" / "golden").glob("*.tar.gz"))
LATER = NOON + 8 * 3_600_000


def release(path: Path) -> str:
    return path.name.removesuffix(".tar.gz")


@pytest.fixture(params=GOLDEN, ids=release)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory with `data` as a release left it, and `read.json`, the reports and
    export of that release.
    """
    subprocess.run(["tar", "-xzf", request.param, "-C", tmp_path], check=True)  # noqa: S607  tarfile warns or not, by Python
    return tmp_path


def test_reports_and_export_are_the_same(golden: Path) -> None:
    assert read(DataDirectory(golden / "data")) == json.loads((golden / "read.json").read_text("utf-8"))


@pytest.mark.long
def test_pass_continues_it(golden: Path) -> None:
    data = DataDirectory(golden / "data")
    before = load_snapshot(data)

    fold_all(data, LATER, **SETTINGS)

    after = load_snapshot(data)
    assert after.generation > before.generation
    assert after.totals.counted == before.totals.counted + 2  # one sealed, one of a killed worker
    assert sum(file.read_bytes().count(b"\n") for file in data.quarantine.iterdir()) == 1  # the torn line
    verify(data, environment(data.root, sites="example.com shop.example.com", max_values=SETTINGS["max_values"]))


@pytest.mark.long
def test_rebuild_finds_the_same(golden: Path) -> None:
    data = DataDirectory(golden / "data")
    expected = json.loads((golden / "read.json").read_text("utf-8"))

    changes = rebuild(data, Settings(data_dir=data.root, **SETTINGS), SilentLog(), LATER, dry_run=False)

    assert [change for change in changes if change.events_before != change.events_after] == []
    assert read(data)["events"] == expected["events"]
