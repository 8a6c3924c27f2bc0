"""/admin/api/tokens: an admin of all sites lists, makes and revokes tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.tokens import create_token, load_tokens
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, bearer
from tests.builders.waiting import until
from tests.builders.worker import Worker

TOKENS = "/admin/api/tokens"
JSON = {"Content-Type": "application/json"}
SITES = "shop.example,blog.example"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with Worker(tmp_path, sites=SITES) as running:
        yield running


def post(worker: Worker, body: Any, token: str = ADMIN_TOKEN) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return worker.request("POST", TOKENS, content, JSON | bearer(token))


def test_token_is_made_used_listed_and_revoked(worker: Worker) -> None:
    made = post(worker, {"scope": "read", "sites": ["Shop.example"]})
    assert made.status == 201, made.body
    said = made.json()
    secret = said.pop("token")
    assert (said["scope"], said["sites"], said["last_used"], said["valid_on"]) == (
        "read",
        ["shop.example"],
        None,
        "host",
    )
    assert worker.request("GET", "/admin/api/status", headers=bearer(secret)).json()["sites"] == ["shop.example"]
    until(lambda: worker.get(TOKENS).json()["tokens"][0]["last_used"] is not None)
    (listed,) = worker.get(TOKENS).json()["tokens"]
    assert listed | {"last_used": None} == said
    assert secret.encode() not in worker.get(TOKENS).body
    assert secret not in repr(worker.log.entries) and secret not in worker.data.tokens.read_text("utf-8")
    path = f"{TOKENS}/{said['id']}"
    assert worker.request("DELETE", path, headers=bearer(ADMIN_TOKEN)).status == 204
    assert worker.request("DELETE", path, headers=bearer(ADMIN_TOKEN)).code == "no_such_name"
    assert worker.request("GET", "/admin/api/status", headers=bearer(secret)).status == 401
    assert worker.get(TOKENS).json() == {"tokens": []}


def test_admin_and_sender_are_made(worker: Worker) -> None:
    for scope in ("admin", "ingest"):
        assert post(worker, {"scope": scope}).json()["sites"] is None
    assert {each.scope for each in load_tokens(worker.data)} == {"admin", "ingest"}


REJECTED: dict[str, tuple[Any, tuple[int, str]]] = {
    "management: a token that is no JSON": (b"{", (400, "malformed")),
    "management: a token without a scope": ({}, (422, "invalid")),
    "management: a scope that is none": ({"scope": "root"}, (422, "invalid")),
    "management: a pixel": ({"scope": "pixel", "sites": ["shop.example"]}, (422, "invalid")),
    "management: another field": ({"scope": "read", "id": "x"}, (422, "invalid")),
    "management: a site that is not listed": ({"scope": "read", "sites": ["other.example"]}, (422, "invalid")),
    "management: a site that is none": ({"scope": "read", "sites": ["a b"]}, (422, "invalid")),
    "management: a site of half a character": (b'{"scope":"read","sites":["\\ud800"]}', (400, "malformed")),
    "management: a sender of one site": ({"scope": "ingest", "sites": ["shop.example"]}, (422, "invalid")),
    "management: 101 sites": ({"scope": "read", "sites": ["shop.example"] * 101}, (422, "invalid")),
    "management: nested without end": (b"[" * 10_000, (422, "invalid")),
    "management: 40 KB": (b" " * 40_000, (413, "too_large")),
}


@pytest.mark.parametrize(("body", "expected"), REJECTED.values(), ids=REJECTED)
def test_what_is_no_new_token_is_refused(worker: Worker, body: Any, expected: tuple[int, str]) -> None:
    answer = post(worker, body)
    assert (answer.status, answer.code) == expected
    assert load_tokens(worker.data) == ()


def test_only_an_admin_of_all_sites_manages_tokens(worker: Worker) -> None:
    id_ = create_token(worker.data, "read")[0].id
    made = [create_token(worker.data, "read"), create_token(worker.data, "admin", sites=["shop.example"])]
    for secret in (INGEST_KEY, *(secret for _, secret in made)):
        for method, path in (("GET", TOKENS), ("POST", TOKENS), ("DELETE", f"{TOKENS}/{id_}")):
            body = b'{"scope":"admin"}' if method == "POST" else None
            answer = worker.request(method, path, body, JSON | bearer(secret))
            assert (answer.status, answer.code) == (403, "scope"), (method, secret)
    assert len(load_tokens(worker.data)) == 3


def test_page_of_another_site_makes_none(worker: Worker) -> None:
    headers = JSON | bearer(ADMIN_TOKEN) | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    answer = worker.request("POST", TOKENS, b'{"scope":"admin"}', headers)
    assert (answer.status, answer.code) == (403, "origin")
    assert load_tokens(worker.data) == ()
