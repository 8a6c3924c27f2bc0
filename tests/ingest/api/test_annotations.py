"""/admin/api/annotations: keeping and deleting, who may, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from shared.annotations import ENTRIES_MAX, TEXT_MAX, Annotation, read_annotations
from shared.disk.locks import owner_lock
from shared.tokens import create_token
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, bearer
from tests.builders.worker import Worker

ANNOTATIONS = "/admin/api/annotations"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("annotations")) as started:
        yield started
        assert "request_failed" not in started.log.events()


@pytest.fixture
def worker(running: Worker) -> Worker:
    """Nothing is kept yet."""
    running.data.annotations.unlink(missing_ok=True)
    return running


def put(worker: Worker, body: Any, token: str = ADMIN_TOKEN, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8")
    return worker.request("PUT", ANNOTATIONS, content, JSON | bearer(token) | headers)


def delete(worker: Worker, query: str, token: str = ADMIN_TOKEN) -> Answer:
    return worker.request("DELETE", f"{ANNOTATIONS}?{query}", headers=bearer(token))


def test_annotation_is_kept_once_listed_by_time_and_deleted(worker: Worker) -> None:
    late = put(worker, {"at": "2026-11-22T16:00:00+01:00", "text": "Ausfall im Süden", "site": "shop.example"})
    assert (late.status, late.json()["site"]) == (201, "shop.example")
    early = put(worker, {"at": "2026-11-20", "text": "Deploy 2.1"})
    assert early.status == 201
    assert put(worker, {"at": "2026-11-20", "text": "Deploy 2.1"}).status == 200
    assert put(worker, {"at": "2026-11-20", "text": "Deploy 2.1", "site": "other.example"}).status == 201
    listed = worker.get(ANNOTATIONS).json()["annotations"]
    assert [(each["at"], each["site"]) for each in listed] == [
        ("2026-11-20", None),
        ("2026-11-20", "other.example"),
        ("2026-11-22T16:00:00+01:00", "shop.example"),
    ]
    assert worker.get(ANNOTATIONS, site="shop.example").json()["annotations"] == [early.json(), late.json()]
    assert delete(worker, f"id={early.json()['id']}").status == 204
    assert delete(worker, f"id={early.json()['id']}").code == "no_such_annotation"
    assert len(worker.get(ANNOTATIONS).json()["annotations"]) == 2


def test_reading_takes_a_reader_and_changing_an_admin(worker: Worker) -> None:
    reader = create_token(worker.data, "read")[1]
    body = {"at": "2026-11-20", "text": "kept"}
    assert worker.request("GET", ANNOTATIONS, headers=bearer(reader)).status == 200
    for token, code in ((reader, "scope"), (INGEST_KEY, "scope"), ("wrong", "token")):
        assert put(worker, body, token).code == code
        assert delete(worker, "id=a", token).code == code
    assert put(worker, body, **{"Sec-Fetch-Site": "cross-site"}).code == "origin"
    assert worker.get(ANNOTATIONS).json() == {"annotations": []}


GOOD = {"at": "2026-11-20", "text": "a"}
# A body that is refused, with its status and code.
REJECTED: dict[str, tuple[Any, int, str]] = {
    "annotation: no JSON": (b"{", 400, "malformed"),
    "annotation: half a character": (b'{"at":"2026-11-20","text":"\\ud800"}', 400, "malformed"),
    "annotation: no body": (b"", 400, "malformed"),
    "annotation: a large body": (b" " * 17_000, 413, "too_large"),
    "annotation: a list": ([], 422, "annotation_invalid"),
    **{
        f"annotation: {name}": ({**GOOD, **changed}, 422, "annotation_invalid")
        for name, changed in cast(
            dict[str, dict[str, Any]],
            {
                "an empty text": {"text": ""},
                "a long text": {"text": "a" * (TEXT_MAX + 1)},
                "a text with a line break": {"text": "a\n"},
                "a text that turns": {"text": "a\u202eb"},
                "a number as text": {"text": 1},
                "a day that no calendar has": {"at": "2026-02-30"},
                "a time without a zone": {"at": "2026-11-20T16:00:00"},
                "a time that no clock shows": {"at": "2026-11-20T25:00:00Z"},
                "a year too early": {"at": "1969-12-31"},
                "a line break after the date": {"at": "2026-11-20\n"},
                "milliseconds since 1970": {"at": 1},
                "a site in upper case": {"site": "Example.com"},
                "a site that is none": {"site": "a/b"},
                "a long site": {"site": "a" * 300},
                "a field more": {"id": "a"},
            },
        ).items()
    },
}


@pytest.mark.parametrize(("body", "status", "code"), REJECTED.values(), ids=REJECTED)
def test_what_is_no_annotation_is_refused_and_changes_nothing(
    worker: Worker, body: Any, status: int, code: str
) -> None:
    answer = put(worker, body)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert not worker.data.annotations.exists()


def test_another_type_and_other_parameters_are_refused(worker: Worker) -> None:
    body = {"at": "2026-11-20", "text": "a"}
    assert put(worker, body, **{"Content-Type": "text/plain"}).code == "media_type"
    for answer in (
        delete(worker, "name=a"),
        delete(worker, "id=a&id=b"),
        worker.get(ANNOTATIONS, id="a"),
        worker.request("PUT", f"{ANNOTATIONS}?a=1", json.dumps(body).encode(), JSON | bearer(ADMIN_TOKEN)),
    ):
        assert (answer.status, answer.code) == (400, "query")


def test_one_more_than_may_be_is_refused(worker: Worker) -> None:
    entries = [
        {"at": "2026-11-20", "text": "\U0001f600" * (TEXT_MAX - 3) + f"{number:03}"} for number in range(ENTRIES_MAX)
    ]
    worker.data.annotations.write_text(json.dumps(entries, ensure_ascii=False), "utf-8")
    answer = put(worker, {"at": "2026-11-20", "text": "one more"})
    assert (answer.status, answer.code) == (409, "too_many_annotations")
    assert put(worker, entries[7]).status == 200  # the longest of all texts have room
    assert len(worker.get(ANNOTATIONS).json()["annotations"]) == ENTRIES_MAX


def test_change_that_cannot_be_made_now_is_to_be_tried_again(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.kept_entries.LOCK_TIMEOUT_S", 0.05)
    with owner_lock(worker.data.annotations_lock):
        answer = put(worker, {"at": "2026-11-20", "text": "a"})
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "busy", "5")


def test_entry_that_an_editor_broke_costs_itself_alone_and_stays(worker: Worker) -> None:
    good, bad = {"at": "2026-11-20", "text": "a"}, {"at": "2026-02-30", "text": "b"}
    worker.data.annotations.write_text(json.dumps([good, bad, good]), "utf-8")
    found = worker.get(ANNOTATIONS).json()
    assert [each["text"] for each in found["annotations"]] == ["a"]
    assert found["reason"] == "annotations.json has 2 of 3 entries that are not read"
    assert put(worker, {"at": "2026-11-21", "text": "c"}).status == 201
    assert read_annotations(worker.data).entries == (Annotation("2026-11-20", "a"), Annotation("2026-11-21", "c"))
    assert [each["text"] for each in json.loads(worker.data.annotations.read_bytes())] == ["a", "c", "b", "a"]


def test_file_that_is_no_list_is_kept_under_another_name(worker: Worker) -> None:
    worker.data.annotations.write_bytes(b"{")
    assert worker.get(ANNOTATIONS).json() == {"annotations": [], "reason": "annotations.json is damaged"}
    assert put(worker, {"at": "2026-11-20", "text": "a"}).status == 201
    (kept,) = worker.data.root.glob("annotations.*.damaged")
    assert Path(kept).read_bytes() == b"{"
