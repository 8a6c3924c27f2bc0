"""The examples of docs/senders.md, cut out of the page and run: a refusal that says
when to come again, then an answer that is lost, and each event counts once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

from tests.builders.front import front
from tests.builders.pages import ROOT, fenced, page, section
from tests.builders.programs import program
from tests.builders.server import INGEST_KEY, Server
from tests.builders.waiting import TIMEOUT_S

pytestmark = [pytest.mark.long, pytest.mark.component]


class Example(NamedTuple):
    """`after` is appended: the client of Python has a thread that it must wait for."""

    heading: str
    language: str
    file: str
    command: list[str]
    after: str = ""


PYTHON = Example("Python", "python", "sender.py", [sys.executable], "assert client.flush(60)\n")
OTHERS = [
    Example("Node", "js", "sender.mjs", ["node"]),
    Example("PHP", "php", "sender.php", ["php"]),
    Example("Ruby", "ruby", "sender.rb", ["ruby"]),
    Example("Go", "go", "sender.go", ["go", "run"]),
    Example("curl", "sh", "sender.sh", ["sh"]),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("senders")) as server:
        yield server


def run(example: Example, url: str, key: str, directory: Path) -> subprocess.CompletedProcess[str]:
    name, *arguments = example.command
    if name == "go" and shutil.which(name) is None:
        pytest.skip("go is not installed; CI does not install it")
    file = directory / example.file
    file.write_text(fenced(section(page("docs/senders.md"), example.heading), example.language)[0] + example.after)
    environ = os.environ | {
        "STATS_URL": url,
        "STATS_KEY": key,
        "STATS_SPOOL": str(directory / "spool"),
        "PYTHONPATH": str(ROOT),
        "GOCACHE": str(directory / "go"),
    }
    command = [program(name), *arguments, str(file)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=3 * TIMEOUT_S, check=False)


@pytest.mark.parametrize("example", [PYTHON, *OTHERS], ids=lambda example: example.heading)
def test_example_repeats_until_its_event_is_taken_and_counts_once(
    server: Server, tmp_path: Path, example: Example
) -> None:
    asked: list[float] = []

    async def wait_first(number: int) -> web.Response | None:
        asked.append(time.monotonic())
        return web.Response(status=503, headers={"Retry-After": "3"}) if number == 0 else None

    before = events(server)
    with front(server.port, wait_first, lost={1}) as url:
        ended = run(example, url, INGEST_KEY, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(asked) == 3 and asked[1] - asked[0] >= 3.0
    assert events(server) == before + 1


@pytest.mark.parametrize("example", OTHERS, ids=lambda example: example.heading)
def test_example_does_not_repeat_what_was_refused(server: Server, tmp_path: Path, example: Example) -> None:
    asked: list[int] = []

    async def watch(number: int) -> web.Response | None:
        asked.append(number)
        return None

    with front(server.port, watch) as url:
        ended = run(example, url, "a-key-that-was-revoked", tmp_path)
    assert ended.returncode not in (0, 75) and '"code":"key"' in ended.stdout + ended.stderr
    assert asked == [0]


def events(server: Server) -> int:
    server.fold()
    return int(server.get("/admin/api/report", visitors="none").json()["total"]["events"])
