"""A damaged tokens.json over HTTP: who sends a token that was in it is a stranger, all
others are served, and no answer says where a file is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.tokens import create_token
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, bearer
from tests.builders.worker import Worker

EVENT = b'{"consent":"granted","events":[{"name":"pageview"}]}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("worker")) as worker:
        yield worker


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "binary": lambda path: path.write_bytes(b"\xff\x00" * 999),
    "wrong types": lambda path: path.write_bytes(b'{"a":1}'),
    "a bad entry": lambda path: path.write_bytes(b'[{"id":"a","scope":"admin","sha256":"zz","created":""}]'),
    "a directory": make_directory,
    "a gibibyte": lambda path: os.truncate(path, 1 << 30),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_costs_what_was_in_the_file_and_tells_nobody(worker: Worker, damage: Callable[[Path], object]) -> None:
    empty(worker.data.tokens)
    _, lost = create_token(worker.data, "admin")
    assert worker.get("/admin/api/status", bearer(lost)).status == 200
    damage(worker.data.tokens)
    try:
        asked = [
            worker.request("GET", "/admin/api/status", headers=headers) for headers in ({}, bearer("x"), bearer(lost))
        ]
        sent = [
            worker.request("POST", "/v1/events", EVENT, JSON | headers)
            for headers in ({}, bearer("x"), bearer(INGEST_KEY))
        ]
        assert [answer.status for answer in asked] == [401, 401, 401]
        assert [answer.status for answer in sent] == [403, 401, 200]
        for answer in (*asked, *sent):
            assert b"private" not in answer.body and bytes(worker.data.root) not in answer.body
            assert b"damaged" not in answer.body
        assert worker.get("/admin/api/status", bearer(ADMIN_TOKEN)).status == 200
        assert worker.log.warnings[-1] == "tokens_damaged"
    finally:
        empty(worker.data.tokens)
