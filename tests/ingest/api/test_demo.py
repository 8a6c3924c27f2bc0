"""What only a demo has: POST /admin/api/sign-in, and the sample shop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.http.token_guesses import MANY
from ingest.routes import ROUTES, routes_by_settings
from shared.settings import Settings
from shared.sign_in_code import create_code
from tests.builders.server import Answer, bearer
from tests.builders.worker import Worker

SIGN_IN = "/admin/api/sign-in"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("demo"), demo="true") as running:
        yield running


def exchange(worker: Worker, code: str, **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return worker.request("POST", SIGN_IN, json.dumps({"code": code}).encode(), JSON | sent)


def test_code_is_exchanged_for_a_token_once(worker: Worker) -> None:
    code = create_code(worker.data)
    answer = exchange(worker, code)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    token = answer.json()["token"]
    assert worker.request("GET", "/admin/api/status", headers=bearer(token)).status == 200
    again = exchange(worker, code)
    assert (again.status, again.code) == (401, "token")


def test_page_of_another_site_cannot_use_a_code(worker: Worker) -> None:
    code = create_code(worker.data)
    answer = exchange(worker, code, Sec_Fetch_Site="cross-site")
    assert (answer.status, answer.code) == (403, "origin")
    assert exchange(worker, code).status == 200


BODIES = {
    "no JSON": b"code=abc",
    "no code": b"{}",
    "more than a code": b'{"code":"abc","scope":"admin"}',
    "no text": b'{"code":1}',
    "empty": b'{"code":""}',
    "half a character": b'{"code":"\\ud800"}',
    "not UTF-8": b'{"code":"\xff"}',
    "deep": b"[" * 900,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_body_that_has_no_code_is_malformed(worker: Worker, body: bytes) -> None:
    answer = worker.request("POST", SIGN_IN, body, JSON)
    assert (answer.status, answer.code) == (400, "malformed")


def test_body_is_bounded(worker: Worker) -> None:
    answer = worker.request("POST", SIGN_IN, b'{"code":"' + b"a" * 2000 + b'"}', JSON)
    assert (answer.status, answer.code) == (413, "too_large")


def test_guesses_are_limited_and_a_link_works_elsewhere(tmp_path: Path) -> None:
    """From the address of the guesses, too: slowly."""
    with Worker(tmp_path, demo="true", trusted_proxies="127.0.0.1") as worker:
        code = create_code(worker.data)
        worker.context.token_guesses._delay_s = 0.001
        found = [
            exchange(worker, f"guess-{number}", X_Forwarded_For="203.0.113.7").status for number in range(MANY + 5)
        ]
        assert found[:MANY] == [401] * MANY
        assert found[-1] == 429
        assert exchange(worker, code, X_Forwarded_For="203.0.113.8").status == 200


def test_shop_is_served_and_loads_nothing_from_elsewhere(worker: Worker) -> None:
    answer = worker.request("GET", "/demo/")
    assert answer.status == 200
    assert b"/tracker.js" in answer.body
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for name in ("shop.js", "shop.css"):
        assert name.encode() in answer.body
        assert worker.request("GET", f"/demo/{name}").status == 200
    assert worker.request("GET", "/demo").headers["Location"] == "demo/"


def test_a_server_that_is_no_demo_has_none_of_it() -> None:
    """Neither by its routes nor by its settings."""
    paths = {path for _, path, _ in [*ROUTES, *routes_by_settings(Settings())]}
    assert not [path for path in paths if path.startswith("/demo") or path == SIGN_IN]
