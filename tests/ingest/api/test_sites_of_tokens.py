"""A token of some sites sees nothing of others: every operation of the admin API is
tried by a hostile reader who asks for another site's events, whose texts are marked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from ingest.http.openapi_document import make_document
from ingest.share_links.links import new_link
from ingest.share_links.links_file import add_link
from shared.tokens import create_token
from tests.builders.marked_sites import MARK, OTHER, OWN, SECOND, marked_events, send_marked
from tests.builders.server import ADMIN_TOKEN, Answer, bearer, keyed
from tests.builders.visits import D1, D2
from tests.builders.waiting import TIMEOUT_S
from tests.builders.worker import Worker

SPAN = f"from={D1}&to={D2}"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("sites"), sites=f"{OWN},{SECOND},{OTHER}") as running:
        send_marked(running, {OWN: ("mine", 3), SECOND: ("second", 2), OTHER: (MARK, 7)})
        add_link(running.data, new_link(OTHER, MARK)[0])
        for path in ("goals", "filters"):
            for name, kept in ((f"{MARK} one", f"path==/{MARK}"), ("mine", f"site=={OWN};path==/mine")):
                body = json.dumps({"name": name, "filter": kept}).encode()
                sent = running.request("PUT", f"/admin/api/{path}", body, keyed() | bearer(ADMIN_TOKEN))
                assert sent.status == 201
        yield running
        assert "request_failed" not in running.log.events()


def token(worker: Worker, scope: Any, *sites: str) -> str:
    return create_token(worker.data, scope, sites=sites)[1]


# How each operation is tried: the rest of its address after the path. Where `site` is
# left out, it is another's.
_ASIDE = f"site={OTHER}"
_TWICE = f"site={OWN}&site={OTHER}"
_FILTERED = quote(f"site=={OTHER}", safe="")
_WITHIN = quote(f";site=={OTHER};", safe="")
_BATCH = quote(
    json.dumps([*({"by": name} for name in ("path", "site", "props.plan")), {"by": "entry"}, {"site": OTHER}])
)
_REPORTS = (
    "",
    _ASIDE,
    _TWICE,
    f"filter={_FILTERED}",
    f"filter={_WITHIN}",
    f"site=&filter={_FILTERED}",
    f"site={OWN}%7C{OTHER}",
)
ATTEMPTS: dict[str, list[str]] = {
    "GET /admin/api/report": [
        *_REPORTS,
        *("by=site", "by=path", "by=referrer", "by=visitor", "by=props.plan", f"by=props.{MARK}_key", "by=query.q"),
        *("by=entry&measures=visits", "by=utm_source", "by=hostname", "interval=day&compare=previous", "kind=live"),
        *(
            "by=path&format=csv",
            "by=path&format=ndjson",
            "by=path&visitors=none",
            f"by=path&event={MARK}_name",
            "sites=",
        ),
    ],
    "GET /admin/api/export": [*_REPORTS, "format=csv", "format=parquet", f"site={OTHER.upper()}"],
    "GET /admin/api/batch": [f"reports={_BATCH}&{more}" for more in _REPORTS],
    "GET /admin/api/annotations": ["", _ASIDE],
    "PUT /admin/api/annotations": [""],
    "DELETE /admin/api/annotations": ["id=0123456789abcdef"],
    "GET /admin/api/live": [*_REPORTS, "limit=100"],
    "GET /admin/api/cohorts": [*_REPORTS, f"return=path==/{MARK}", f"return={_FILTERED}"],
    "GET /admin/api/funnel": [
        f"steps={step};;{step}&{more}" for step in ("path==/*", f"event=={MARK}_name", _FILTERED) for more in _REPORTS
    ],
    "GET /admin/api/paths": [f"at=/{mark}&{more}" for mark in ("mine", MARK) for more in _REPORTS],
    "GET /admin/api/goals/report": [*_REPORTS, f"goal={MARK}%20one", "goal=mine"],
    "GET /admin/api/goals": ["", _ASIDE],
    "PUT /admin/api/goals": [""],
    "DELETE /admin/api/goals": ["name=mine", f"name={MARK}%20one"],
    "GET /admin/api/filters": ["", _ASIDE],
    "PUT /admin/api/filters": [""],
    "DELETE /admin/api/filters": ["name=mine", f"name={MARK}%20one"],
    "GET /admin/api/live/stream": [_ASIDE, _TWICE, f"site={OTHER}&site={OWN}"],
    "GET /admin/api/snapshot": ["", "view=summary", _ASIDE],
    "GET /admin/api/status": ["", _ASIDE],
    "GET /admin/api/tokens": ["", _ASIDE],
    "POST /admin/api/tokens": [""],
    "DELETE /admin/api/tokens/{id}": [""],
    "GET /admin/api/shares": ["", _ASIDE],
    "POST /admin/api/shares": [""],
    "DELETE /admin/api/shares/{id}": [""],
    "POST /admin/api/share-session": [""],
    "POST /admin/api/fold": [""],
    "POST /admin/api/holds/{id}": ["", _ASIDE],
    "GET /admin/api/doctor": ["", _ASIDE],
    "GET /admin/api/visitors/{id}": ["", _ASIDE, f"site={OTHER.upper()}"],
    "DELETE /admin/api/visitors/{id}": [_ASIDE, f"site={OTHER.upper()}"],
}
_BODIES = {"PUT": json.dumps({"name": "mine", "filter": f"site=={OTHER}"}).encode(), "POST": b"{}"}


def test_every_operation_is_tried() -> None:
    operations = {
        f"{method.upper()} {path}"
        for path, methods in make_document()["paths"].items()
        for method in methods
        if path.startswith("/admin/")
    }
    assert set(ATTEMPTS) == operations


def ask(worker: Worker, operation: str, query: str, secret: str) -> Answer:
    method, _, path = operation.partition(" ")
    target = path.replace("{id}", f"{MARK}-visitor-1")
    is_of_time = method == "GET" and path.rpartition("/")[2] in {"report", "export", "cohorts", "funnel", "paths"}
    parameters = "&".join(filter(None, (query, SPAN if is_of_time else "")))
    headers = keyed() | bearer(secret) if method in _BODIES else bearer(secret)
    return worker.request(method, f"{target}?{parameters}" if parameters else target, _BODIES.get(method), headers)


def without_question(answer: Answer) -> str:
    """The answer without what it repeats of the question."""
    if answer.headers.get_content_type() != "application/json":
        return answer.body.decode("utf-8", "replace").lower()
    found = answer.json()
    for name in ("by", "at"):
        found.pop(name, None)
    if found.get("kind") == "funnel":
        for each in (*found["steps"], *found["rows"]):
            del each["filter"]
    return json.dumps(found, separators=(",", ":")).lower()


@pytest.mark.parametrize("operation", ATTEMPTS)
def test_token_of_a_site_sees_nothing_of_another(worker: Worker, operation: str) -> None:
    """Of an admin, who may do all that a reader may."""
    for secret in (token(worker, "admin", OWN), token(worker, "admin", OWN, SECOND)):
        for query in ATTEMPTS[operation]:
            answer = ask(worker, operation, query, secret)
            said = without_question(answer)
            assert answer.status in {200, 400, 403, 404, 422}, (query, said)
            assert MARK not in said, (query, said)
            assert OTHER not in said, (query, said)
            assert answer.status != 200 or '"events":7' not in said, (query, said)


# What the test above would see, if it were shown.
SEEN = {
    "GET /admin/api/report": ["by=path", "by=site"],
    "GET /admin/api/export": [""],
    "GET /admin/api/paths": [f"at=/{MARK}"],
    "GET /admin/api/goals/report": [""],
    "GET /admin/api/goals": [""],
    "GET /admin/api/filters": [""],
    "GET /admin/api/shares": [""],
    "GET /admin/api/snapshot": ["", "view=summary"],
}


@pytest.mark.parametrize("operation", SEEN)
def test_token_of_all_sites_sees_the_marks(worker: Worker, operation: str) -> None:
    for query in SEEN[operation]:
        said = ask(worker, operation, query, ADMIN_TOKEN).body.decode("utf-8", "replace")
        assert MARK in said or OTHER in said, (query, said)


@pytest.mark.parametrize("path", ["report", "export", "cohorts", "goals/report"])
def test_own_site_is_answered_as_to_anyone(worker: Worker, path: str) -> None:
    limited, both = token(worker, "read", OWN), token(worker, "read", OWN, SECOND)
    goals = path == "goals/report"
    wanted = worker.request("GET", f"/admin/api/{path}?{SPAN}&site={OWN}", headers=bearer(ADMIN_TOKEN))
    assert wanted.status == 200
    for secret, query in ((limited, ""), (limited, f"&site={OWN}"), (both, f"&site={OWN}")):
        answer = worker.request("GET", f"/admin/api/{path}?{SPAN}{query}", headers=bearer(secret))
        assert answer.status == 200, answer.body
        found, expected = answer.body, wanted.body
        if goals:  # those that keep to the site
            expected_goals = [each for each in wanted.json()["goals"] if each["goal"] == "mine"]
            assert answer.json()["goals"] == expected_goals and expected_goals[0]["events"] == 3
        else:
            assert found == expected


def test_token_of_several_sites_names_one(worker: Worker) -> None:
    both = bearer(token(worker, "read", OWN, SECOND))
    answer = worker.request("GET", f"/admin/api/report?{SPAN}", headers=both)
    assert (answer.status, answer.code) == (403, "scope")
    assert f"{OWN}, {SECOND}" in answer.json()["detail"]
    counted = [
        worker.request("GET", f"/admin/api/report?{SPAN}&site={site}", headers=both).json()["total"]["events"]
        for site in (OWN, SECOND)
    ]
    assert counted == [3, 2]


def test_another_site_and_one_that_is_none_answer_alike(worker: Worker) -> None:
    headers = bearer(token(worker, "read", OWN))
    real, none = (
        worker.request("GET", f"/admin/api/report?{SPAN}&site={site}", headers=headers)
        for site in (OTHER, "nothing.example")
    )
    assert (real.status, real.json()["detail"]) == (none.status, none.json()["detail"]) == (403, real.json()["detail"])


def test_status_says_of_no_site(worker: Worker) -> None:
    answer = worker.request("GET", "/admin/api/status", headers=bearer(token(worker, "read", OWN)))
    whole = worker.get("/admin/api/status").json()
    assert answer.json().keys() == {"sites", "generation", "as_of", "lag_s"}
    assert answer.json()["sites"] == [OWN]
    assert (answer.json()["generation"], answer.json()["as_of"]) == (whole["generation"], whole["as_of"])


def test_token_of_a_site_writes_nothing(worker: Worker) -> None:
    for scope in ("read", "admin"):
        body = json.dumps({"events": [{"name": "a"}], "site": OTHER, "consent": "granted"}).encode()
        answer = worker.request("POST", "/v1/events", body, keyed() | bearer(token(worker, scope, OWN)))
        assert (answer.status, answer.code) == (403, "scope")


def test_stream_shows_arrivals_of_the_site_alone(worker: Worker) -> None:
    secret = token(worker, "admin", OWN)
    with worker.connect(TIMEOUT_S) as connection:
        connection.sendall(
            f"GET /admin/api/live/stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
        )
        text = ""
        while "from now on" not in text:
            text += connection.recv(65536).decode()
        bad = [{"name": "pageview", "site": OTHER, f"{MARK}_field": 1, "url": f"https://{OTHER}/{MARK}"}]
        worker.post([*marked_events(OTHER, MARK, 2), *bad], site=OWN)
        worker.post([{"name": "pageview", "url": f"https://{OWN}/last"}], site=OWN)
        while "/last" not in text:
            text += connection.recv(65536).decode()
    assert MARK not in text and OTHER not in text
    assert '"outcome":"accepted"' in text
