"""What Lighthouse says of the dashboard: https://github.com/GoogleChrome/lighthouse has
its audits. Speed is printed only: it says more of the machine than of the page.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.browser import chromium
from tests.builders.dashboard_page import post, view
from tests.builders.pages import ROOT
from tests.builders.server import ADMIN_TOKEN, Server

MODULES = ROOT / ".venv" / "node_modules"
SCRIPT = Path(__file__).with_name("lighthouse.mjs")
WANTED = {"accessibility": 100, "best-practices": 100, "seo": 90}

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium()
    if not (MODULES / "lighthouse").exists() or shutil.which("node") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "lighthouse is not installed; make setup does it with npm"
        )
    with Server(tmp_path_factory.mktemp("server")) as started:
        pages = [f"/page-{number}" for number in range(12)]
        post(started, *(view(started, path, f"v-{path}", referrer="https://www.example.org/") for path in pages))
        started.fold()
        yield started


@pytest.mark.parametrize("token", ["", ADMIN_TOKEN], ids=["sign-in", "dashboard"])
def test_lighthouse_has_nothing_to_say(server: Server, token: str) -> None:
    address = f"http://{server.host}/admin/"
    command = ["node", str(SCRIPT), str(MODULES), chromium(), address, token]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    print(f"performance: {said['scores']['performance']}")  # noqa: T201
    assert (said["error"], said["isSignedIn"]) == (None, bool(token))
    missed = {name: said["scores"][name] for name, least in WANTED.items() if said["scores"][name] < least}
    assert missed == {}, said["found"]
