"""Who may use the admin API: credentials, scopes, pages of other sites."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from ingest.http.token_guesses import TokenGuesses
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, bearer, run_foldlog
from tests.builders.visits import SITE, send_visits
from tests.builders.worker import Worker


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("access"), sites=SITE) as running:
        send_visits(running)
        yield running


@pytest.fixture(autouse=True)
def no_guesses_before(worker: Worker) -> None:
    """All tests are one address, and many wrong tokens."""
    worker.context.token_guesses = TokenGuesses(-1)


@pytest.fixture(scope="module")
def read_token(worker: Worker) -> str:
    done = run_foldlog(["token", "create", "--scope", "read"], worker.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def basic(userinfo: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(userinfo.encode()).decode()}"}


ROUTES = [
    *("GET /admin/api/snapshot", "GET /admin/api/report", "GET /admin/api/export", "GET /admin/api/status"),
    *("GET /admin/api/live", "GET /admin/api/cohorts", "GET /admin/api/goals/report"),
    *("GET /admin/api/funnel?steps=event==a;;event==b", "GET /admin/api/paths?at=/"),
    *("GET /admin/api/goals", "GET /admin/api/filters"),
]
FOLD = "POST /admin/api/fold"
CREDENTIALS: dict[str, tuple[dict[str, str], int]] = {
    "none": ({}, 401),
    "wrong": (bearer("wrong"), 401),
    "empty": (bearer(""), 401),
    "the beginning of the token": (bearer(ADMIN_TOKEN[:-1]), 401),
    "the token without a scheme": ({"Authorization": ADMIN_TOKEN}, 401),
    "Basic, wrong password": (basic("admin:wrong"), 401),
    "Basic, the token as user": (basic(f"{ADMIN_TOKEN}:"), 401),
    "Basic, not base64": ({"Authorization": "Basic !"}, 401),
    "ingest key": (bearer(INGEST_KEY), 403),
    "ingest key, Basic": (basic(f"x:{INGEST_KEY}"), 403),
    "admin token": (bearer(ADMIN_TOKEN), 200),
    "admin token, Basic": (basic(f"admin:{ADMIN_TOKEN}"), 200),
    "admin token, Basic without a user": (basic(f":{ADMIN_TOKEN}"), 200),
}


WITHOUT_SCOPE = {name: row for name, row in CREDENTIALS.items() if row[1] != 200}


def ask(worker: Worker, route: str, headers: dict[str, str], query: str = "") -> Answer:
    method, _, path = route.partition(" ")
    return worker.request(method, path + query, b"" if method == "POST" else None, headers)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("headers", "status"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_route_requires_a_token_with_the_right_scope(
    worker: Worker, route: str, headers: dict[str, str], status: int
) -> None:
    answer = ask(worker, route, headers)
    assert answer.status == status
    assert answer.code == {401: "token", 403: "scope", 200: None}[status]
    assert (answer.headers["WWW-Authenticate"] is not None) == (status == 401)


@pytest.mark.parametrize(("headers", "status"), WITHOUT_SCOPE.values(), ids=WITHOUT_SCOPE)
def test_fold_requires_a_token_with_the_right_scope(worker: Worker, headers: dict[str, str], status: int) -> None:
    """That an admin token may fold, test_fold.py shows: it takes a compactor."""
    assert ask(worker, FOLD, headers).status == status


def test_problems_say_what_to_do(worker: Worker) -> None:
    missing, wrong = (
        ask(worker, "GET /admin/api/status", headers) for headers in ({}, {"Authorization": "Bearer wrong"})
    )
    assert "Authorization: Bearer" in missing.json()["detail"]
    assert "foldlog token create" in wrong.json()["detail"]
    assert "/admin/" in worker.get("/").json()["detail"]


GOOD, BAD_TOKEN = f"Authorization: Bearer {ADMIN_TOKEN}", "Authorization: Bearer wrong"
# Headers that no HTTP library sends; the status and code of the problem.
ODD_CREDENTIALS = {
    "credentials: two tokens": ([GOOD, GOOD], (401, "token")),
    "credentials: two tokens, the second wrong": ([GOOD, BAD_TOKEN], (401, "token")),
    "credentials: two tokens, the first wrong": ([BAD_TOKEN, GOOD], (401, "token")),
    "credentials: a token of a megabyte": ([f"Authorization: Bearer {'x' * (1 << 20)}"], (400, "http")),
    "credentials: a token that is not ASCII": (["Authorization: Bearer \xff\xfe"], (401, "token")),
}


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
@pytest.mark.parametrize(("headers", "expected"), ODD_CREDENTIALS.values(), ids=ODD_CREDENTIALS)
def test_odd_credentials_are_rejected(
    worker: Worker, route: str, headers: list[str], expected: tuple[int, str]
) -> None:
    head = "\r\n".join([f"{route} HTTP/1.1", f"Host: {SITE}", "Content-Length: 0", *headers, "", ""])
    answer = worker.exchange(head.encode("latin-1"))
    assert (answer.status, answer.code) == expected


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
def test_read_token_may_read_only(worker: Worker, read_token: str, route: str) -> None:
    answer = ask(worker, route, bearer(read_token))
    assert (answer.status, answer.code) == ((403, "scope") if route == FOLD else (200, None))


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
@pytest.mark.parametrize("name", ["token", "access_token", "key"])
def test_token_in_the_query_string_is_neither_accepted_nor_logged(worker: Worker, route: str, name: str) -> None:
    assert ask(worker, route, {}, f"?{name}={ADMIN_TOKEN}").status == 401
    assert ADMIN_TOKEN not in repr(worker.log.entries)


CROSS_SITE = {
    "cross-site: cross-site": {"Sec-Fetch-Site": "cross-site"},
    "cross-site: same-site": {"Sec-Fetch-Site": "same-site"},
    "cross-site: cross-site with its Origin": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "cross-site: cross-site with the Origin of a site that may write": {
        "Sec-Fetch-Site": "cross-site",
        "Origin": f"https://{SITE}",
    },
    "cross-site: Origin of an older browser": {"Origin": "https://evil.example"},
    "cross-site: Origin null": {"Origin": "null"},
    "cross-site: Origin of a site that may write": {"Origin": f"https://{SITE}"},
    "cross-site: Origin that begins like ours": {"Origin": "http://127.0.0.1.evil.example"},
    "cross-site: Origin of our host on another port": {"Origin": "http://127.0.0.1:1"},
}


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE)
def test_page_of_another_site_can_neither_read_nor_fold(worker: Worker, route: str, headers: dict[str, str]) -> None:
    before = worker.data.snapshot.read_bytes()
    for credentials in (bearer(ADMIN_TOKEN), basic(f"admin:{ADMIN_TOKEN}")):
        answer = ask(worker, route, credentials | headers)
        assert (answer.status, answer.code) == (403, "origin")
        assert not any(name.startswith("Access-Control-") for name in answer.headers)
    assert worker.data.snapshot.read_bytes() == before


OWN_PAGE = {
    "of a modern browser": {"Sec-Fetch-Site": "same-origin"},
    "typed": {"Sec-Fetch-Site": "none"},
    "no browser": {},
}


@pytest.mark.parametrize("headers", OWN_PAGE.values(), ids=OWN_PAGE)
def test_own_page_can_read(worker: Worker, headers: dict[str, str]) -> None:
    for route in ROUTES:
        assert ask(worker, route, bearer(ADMIN_TOKEN) | headers).status == 200


def test_own_page_of_an_older_browser_can_read(worker: Worker) -> None:
    for route in ROUTES:
        origin = {"Origin": f"http://127.0.0.1:{worker.port}"}
        assert ask(worker, route, bearer(ADMIN_TOKEN) | origin).status == 200


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
def test_other_method_is_405(worker: Worker, route: str) -> None:
    method, _, path = route.partition(" ")
    answer = worker.request("PATCH", path, headers=bearer(ADMIN_TOKEN))
    assert (answer.status, answer.code) == (405, "method")
    kept = path in {"/admin/api/goals", "/admin/api/filters"}
    assert answer.headers["Allow"] == ("DELETE, GET, PUT" if kept else method)


@pytest.mark.parametrize(
    "path", [*(route.partition(" ")[2] for route in ROUTES), "/admin/", "/healthz", "/readyz", "/metrics"]
)
def test_no_response_names_the_libraries_that_made_it(worker: Worker, path: str) -> None:
    assert worker.get(path).headers["Server"] == "Foldlog"
