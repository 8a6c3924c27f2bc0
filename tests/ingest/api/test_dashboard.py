"""GET /admin/: the files of the dashboard, and paths that do not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from ingest.api.dashboard import files
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, bearer
from tests.builders.visits import SITE
from tests.builders.worker import Worker


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("dashboard"), sites=SITE) as running:
        yield running


PAGE = [f"/admin/{'' if name == 'index.html' else name}" for name in files()]


def test_every_file_that_the_page_names_is_served(worker: Worker) -> None:
    page = worker.request("GET", "/admin/").body.decode("utf-8")
    named = {urljoin("/admin/", name) for name in re.findall(r'(?:src|href)="([^":<]+)"', page)}
    modules = {path for path in PAGE if path.startswith("/admin/js/")}
    imported = {
        urljoin(path, name)
        for path in modules
        for name in re.findall(r'from "([^"]+)"', worker.request("GET", path).body.decode("utf-8"))
    }
    assert named | imported <= set(PAGE)
    assert modules == imported | {"/admin/js/main.js"}  # and none is left over


def test_page_is_small_and_sent_once(worker: Worker) -> None:
    packed = 0
    for path in PAGE:
        answer = worker.request("GET", path, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        packed += len(answer.body)
        mark = {"Accept-Encoding": "gzip", "If-None-Match": answer.headers["ETag"]}
        assert worker.request("GET", path, headers=mark).status == 304
    assert packed <= 120_000


@pytest.mark.parametrize("path", PAGE)
def test_page_loads_nothing_from_other_hosts_and_cannot_be_framed(worker: Worker, path: str) -> None:
    answer = worker.request("GET", path)
    assert answer.status == 200
    policy = {
        part.split()[0]: part.split()[1:]
        for part in answer.headers["Content-Security-Policy"].split(";")
        if part.strip()
    }
    assert (
        policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    )
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert policy["trusted-types"] == ["'none'"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", PAGE)
def test_page_contains_no_secret(worker: Worker, path: str) -> None:
    body = worker.request("GET", path).body.decode("utf-8")
    assert ADMIN_TOKEN not in body
    assert INGEST_KEY not in body


@pytest.mark.parametrize("query", ["", "?by=path"])
def test_url_without_the_slash_redirects_to_the_page(worker: Worker, query: str) -> None:
    answer = worker.request("GET", f"/admin{query}")
    assert (answer.status, urljoin("https://example.com/stats/admin", answer.headers["Location"])) == (
        308,
        "https://example.com/stats/admin/",
    )


UNKNOWN_PATHS = [
    "/admin/..%2f..%2fetc%2fpasswd",
    "/admin/../../etc/passwd",
    "/admin/%2e%2e/%2e%2e/etc/passwd",
    "/admin/..%5c..%5cetc%5cpasswd",
    "/admin//etc/passwd",
    "/admin/js/main.js%00.css",
    "/admin/js/main.js/",
    "/admin/__init__.py",
    "/admin/uPlot.LICENSE",
    "/admin/api",
    "/admin/api/",
    "/admin/api/nothing",
    "/ADMIN/",
    "/private/tokens.json",
    "/../data/private/tokens.json",
]


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
def test_unknown_path_is_404_with_or_without_a_token(worker: Worker, path: str) -> None:
    for headers in ({}, bearer(ADMIN_TOKEN)):
        answer = worker.request("GET", path, headers=headers)
        assert (answer.status, answer.code) == (404, "not_found")
