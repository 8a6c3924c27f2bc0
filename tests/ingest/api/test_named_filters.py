"""/admin/api/goals and /admin/api/filters: keeping and deleting, who may, and what is
refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.disk.locks import owner_lock
from shared.named_filters import FILTER_MAX, NAME_MAX
from shared.tokens import create_token
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, bearer
from tests.builders.worker import Worker

GOALS, FILTERS = "/admin/api/goals", "/admin/api/filters"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("named")) as running:
        yield running
        assert "request_failed" not in running.log.events()


def put(worker: Worker, path: str, body: Any, token: str = ADMIN_TOKEN, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8")
    return worker.request("PUT", path, content, JSON | bearer(token) | headers)


def delete(worker: Worker, path: str, query: str, token: str = ADMIN_TOKEN) -> Answer:
    return worker.request("DELETE", f"{path}?{query}", headers=bearer(token))


def test_goal_is_kept_replaced_and_deleted(worker: Worker) -> None:
    goal = {"name": "Anmeldung für später", "filter": "event==signup", "value": 2.5}
    assert put(worker, GOALS, goal).status == 201
    assert put(worker, GOALS, {"name": "a", "filter": "path==/a\\;b"}).status == 201
    answer = put(worker, GOALS, goal | {"value": 3})
    assert (answer.status, answer.json()) == (200, goal | {"value": 3.0})
    assert worker.get(GOALS).json() == {
        "goals": [goal | {"value": 3.0}, {"name": "a", "filter": "path==/a\\;b", "value": None}]
    }
    assert worker.get(FILTERS).json() == {"filters": []}
    answer = delete(worker, GOALS, "name=a")
    assert (answer.status, answer.body) == (204, b"")
    assert delete(worker, GOALS, "name=a").code == "no_such_name"
    assert delete(worker, FILTERS, "name=Anmeldung+f%C3%BCr+sp%C3%A4ter").code == "no_such_name"
    assert delete(worker, GOALS, "name=Anmeldung+f%C3%BCr+sp%C3%A4ter").status == 204


def test_filter_is_kept_beside_a_goal_of_its_name(worker: Worker) -> None:
    named = {"name": "same", "filter": "country==DE"}
    assert (put(worker, GOALS, named).status, put(worker, FILTERS, named).status) == (201, 201)
    assert worker.get(FILTERS).json() == {"filters": [named]}
    assert (delete(worker, FILTERS, "name=same").status, len(worker.get(GOALS).json()["goals"])) == (204, 1)
    assert delete(worker, GOALS, "name=same").status == 204


@pytest.mark.parametrize("path", [GOALS, FILTERS])
def test_reading_takes_a_reader_and_changing_an_admin(worker: Worker, path: str) -> None:
    reader = create_token(worker.data, "read")[1]
    body = {"name": "kept", "filter": "path==/"}
    assert worker.request("GET", path, headers=bearer(reader)).status == 200
    for token, code in ((reader, "scope"), (INGEST_KEY, "scope"), ("wrong", "token")):
        assert put(worker, path, body, token).code == code
        assert delete(worker, path, "name=kept", token).code == code
    assert put(worker, path, body, **{"Sec-Fetch-Site": "cross-site"}).code == "origin"
    assert worker.get(path).json()[path.rpartition("/")[2]] == []


LONG_NAME, LONG_FILTER = "a" * (NAME_MAX + 1), "path==/" + "a" * FILTER_MAX
# A body that is refused, with its status and code.
REJECTED: dict[str, tuple[Any, int, str]] = {
    "named-filter: no JSON": (b"{", 400, "malformed"),
    "named-filter: half a character": (b'{"name":"\\ud800","filter":"path==/"}', 400, "malformed"),
    "named-filter: not UTF-8": (b'{"name":"\xff","filter":"path==/"}', 400, "malformed"),
    "named-filter: nested": (b"[" * 16_000, 422, "filter_invalid"),
    "named-filter: a list": ([], 422, "filter_invalid"),
    "named-filter: no name": ({"filter": "path==/"}, 422, "filter_invalid"),
    "named-filter: an empty name": ({"name": "", "filter": "path==/"}, 422, "filter_invalid"),
    "named-filter: a long name": ({"name": LONG_NAME, "filter": "path==/"}, 422, "filter_invalid"),
    "named-filter: a name with a line break": ({"name": "a\n", "filter": "path==/"}, 422, "filter_invalid"),
    "named-filter: a name that moves a terminal": ({"name": "a\x9b2J", "filter": "path==/"}, 422, "filter_invalid"),
    "named-filter: no filter": ({"name": "a"}, 422, "filter_invalid"),
    "named-filter: a goal of visits": ({"name": "a", "filter": "entry==/a"}, 422, "filter_invalid"),
    "named-filter: a filter that is none": ({"name": "a", "filter": "path"}, 422, "filter_invalid"),
    "named-filter: a long filter": ({"name": "a", "filter": LONG_FILTER}, 422, "filter_invalid"),
    "named-filter: many conditions": ({"name": "a", "filter": "path!=/;" * 21}, 422, "filter_invalid"),
    "named-filter: a field more": ({"name": "a", "filter": "path==/", "kind": "goal"}, 422, "filter_invalid"),
    "named-filter: a text as value": ({"name": "a", "filter": "path==/", "value": "1"}, 422, "filter_invalid"),
    "named-filter: a huge value": ({"name": "a", "filter": "path==/", "value": 1e300}, 422, "filter_invalid"),
    "named-filter: a large body": (b" " * 17_000, 413, "too_large"),
    "named-filter: no body": (b"", 400, "malformed"),
}


@pytest.mark.parametrize(("body", "status", "code"), REJECTED.values(), ids=REJECTED)
def test_what_is_no_goal_is_refused_and_changes_nothing(worker: Worker, body: Any, status: int, code: str) -> None:
    answer = put(worker, GOALS, body)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert not worker.data.goals.exists() or worker.get(GOALS).json()["goals"] == []


def test_saved_filter_may_be_of_visits(worker: Worker) -> None:
    assert put(worker, FILTERS, {"name": "from a", "filter": "entry==/a"}).status == 201
    assert delete(worker, FILTERS, "name=from%20a").status == 204


def test_saved_filter_has_no_value(worker: Worker) -> None:
    assert put(worker, FILTERS, {"name": "a", "filter": "path==/", "value": 1}).code == "filter_invalid"


def test_another_type_and_other_parameters_are_refused(worker: Worker) -> None:
    body = {"name": "a", "filter": "path==/"}
    assert put(worker, GOALS, body, **{"Content-Type": "text/plain"}).code == "media_type"
    for answer in (
        put(worker, f"{GOALS}?a=1", body),
        delete(worker, GOALS, "id=a"),
        delete(worker, GOALS, "name=a&name=b"),
    ):
        assert (answer.status, answer.code) == (400, "query")
    assert worker.get(GOALS, name="a").code == "query"


def test_one_more_than_may_be_is_refused(worker: Worker) -> None:
    for number in range(100):
        assert put(worker, FILTERS, {"name": f"{number:03}", "filter": "path==/"}).status == 201
    answer = put(worker, FILTERS, {"name": "one more", "filter": "path==/"})
    assert (answer.status, answer.code) == (409, "too_many_filters")
    assert put(worker, FILTERS, {"name": "007", "filter": "path==/7"}).status == 200
    assert len(worker.get(FILTERS).json()["filters"]) == 100


def test_change_that_cannot_be_made_now_is_to_be_tried_again(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.kept_entries.LOCK_TIMEOUT_S", 0.05)
    with owner_lock(worker.data.goals_lock):
        answer = put(worker, GOALS, {"name": "a", "filter": "path==/"})
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "busy", "5")
    monkeypatch.setattr("shared.kept_entries.publish", _no_space)
    answer = put(worker, GOALS, {"name": "a", "filter": "path==/"})
    assert (answer.status, answer.code) == (507, "disk_full")


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_damaged_file_is_told_without_its_path(worker: Worker, tmp_path: Path) -> None:
    kept = worker.data.goals.read_bytes()
    try:
        worker.data.goals.write_bytes(b"{")
        answer = worker.get(GOALS)
        assert (answer.status, answer.json()) == (200, {"goals": [], "reason": "goals.json is damaged"})
        assert str(worker.data.root) not in answer.body.decode()
    finally:
        worker.data.goals.write_bytes(kept)
