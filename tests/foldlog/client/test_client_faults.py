"""Everything dies at once: the server and the senders of one spool, again and again.
Each event for which `track` returned counts once.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from subprocess import Popen

import pytest

from foldlog.client import Client
from tests.builders import client_program
from tests.builders.server import INGEST_KEY, Server
from tests.builders.waiting import TIMEOUT_S

ROUNDS = 5


@pytest.mark.long
@pytest.mark.crash
def test_each_event_counts_once_while_server_and_senders_are_killed(tmp_path: Path) -> None:
    chance = random.Random(21)
    spool, acknowledged = tmp_path / "spool", set[str]()
    with Server(tmp_path) as server:
        url = f"http://{server.host}"
        for number in range(ROUNDS):
            programs = [client_program.start(url, spool, "hunted", f"{number}-{n}", 100_000) for n in range(2)]
            time.sleep(chance.uniform(0.5, 1.5))
            server.kill()
            time.sleep(chance.uniform(0, 1.0))
            acknowledged |= killed(programs[0])
            server.start()
            acknowledged |= killed(programs[1])
        with Client(url, INGEST_KEY, spool=spool, consent="granted") as client:
            assert client.flush(TIMEOUT_S)
        assert list(spool.iterdir()) == []
        stored = {line["id"] for line in server.lines()}
        assert len(acknowledged) > 100 * ROUNDS
        assert acknowledged <= stored and len(stored) <= len(acknowledged) + 2 * ROUNDS
        server.fold()
        assert server.get("/admin/api/report", visitors="none").json()["total"]["events"] == len(stored)


def killed(program: Popen[str]) -> set[str]:
    """The ids of which it could say that they are kept."""
    assert program.stdout is not None
    program.kill()
    with program.stdout as out:
        said = out.read().splitlines(keepends=True)
    program.wait()
    return {line.strip() for line in said if line.endswith("\n")}
