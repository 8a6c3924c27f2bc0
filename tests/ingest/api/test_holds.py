"""POST /admin/api/holds/{id}: an admin of all sites confirms a deletion on hold, just
as it was seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from shared.disk.layout import ConfirmedHold
from shared.generations.load import load_snapshot
from shared.generations.snapshot import encode_snapshot
from shared.holds import confirmed_holds
from shared.timestamps import now_ms
from shared.tokens import create_token
from tests.builders.archive import archived
from tests.builders.history import history
from tests.builders.logs import fold
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, bearer
from tests.builders.worker import Worker

HOLDS = "/admin/api/holds"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker over a directory whose archive of eight days is on hold."""
    place = tmp_path_factory.mktemp("holds")
    data = history(place / "data", 8, now_ms())
    fold(data, now_ms(), archive_retention_days=7)
    with Worker(place, archive_retention_days=7) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_confirmed(worker: Worker) -> Iterator[None]:
    yield
    for hold in confirmed_holds(worker.data):
        worker.data.confirmed_hold(hold).unlink()


def on_hold(worker: Worker) -> dict[str, Any]:
    """As the status shows it."""
    hold: dict[str, Any] = worker.get("/admin/api/status").json()["last_retention"]["on_hold"]["archive"]
    return hold


def seen(worker: Worker, **changed: Any) -> dict[str, Any]:
    return {name: on_hold(worker)[name] for name in ("first", "last", "days")} | changed


def post(worker: Worker, body: Any, kind: str = "archive", token: str = ADMIN_TOKEN) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return worker.request("POST", f"{HOLDS}/{kind}", content, JSON | bearer(token))


def test_hold_is_confirmed_on_disk_and_the_compactor_deletes(worker: Worker) -> None:
    before = archived(worker.data)
    answer = post(worker, seen(worker))
    assert answer.status == 202, answer.body
    assert answer.json() == {"kind": "archive", "state": "confirmed", **on_hold(worker)}
    (hold,) = confirmed_holds(worker.data)
    assert isinstance(hold, ConfirmedHold) and hold.days == 8
    assert archived(worker.data) == before, "the worker deletes nothing"
    assert worker.data.fold_request.exists(), "a pass need not wait for its schedule"
    assert worker.get("/admin/api/status").json()["last_retention"]["confirmed"] == ["archive"]
    assert post(worker, seen(worker)).status == 202, "twice is once"
    assert confirmed_holds(worker.data) == [hold]
    (logged, _) = [fields for event, fields in worker.log.entries if event == "retention_confirmation_taken"]
    assert (logged["kind"], logged["days"]) == ("archive", 8)


def test_hold_that_does_not_stand_or_has_changed_is_not_confirmed(worker: Worker) -> None:
    for changed in ({"days": 7}, {"days": 9}, {"first": "2020-01-01"}, {"last": "2099-01-01"}):
        answer = post(worker, seen(worker, **changed))
        assert (answer.status, answer.code) == (409, "hold_changed"), changed
    for kind in ("log", "counters", "everything", "archive%2F..", ""):
        answer = post(worker, seen(worker), kind)
        assert (answer.status, answer.code) in {(404, "no_such_hold"), (404, "not_found")}, kind
    assert confirmed_holds(worker.data) == []


def test_suspect_clock_leaves_nothing_to_confirm(worker: Worker) -> None:
    """A run that was skipped holds nothing, so that no confirmation overrules it."""
    body, found = seen(worker), worker.data.snapshot.read_bytes()
    snapshot = load_snapshot(worker.data)
    run = msgspec.structs.replace(snapshot.retention, skipped="the clock jumped", on_hold={})
    worker.data.snapshot.write_bytes(encode_snapshot(msgspec.structs.replace(snapshot, retention=run)))
    try:
        assert post(worker, body).code == "no_such_hold"
    finally:
        worker.data.snapshot.write_bytes(found)


REJECTED: dict[str, tuple[Any, tuple[int, str]]] = {
    "confirm-hold: no JSON": (b"{", (400, "malformed")),
    "confirm-hold: nothing": ({}, (422, "invalid")),
    "confirm-hold: another field": ({"first": "2026-01-01", "last": "2026-01-09", "days": 9, "x": 1}, (422, "invalid")),
    "confirm-hold: a day that is none": ({"first": "2026-02-30", "last": "2026-03-09", "days": 9}, (422, "invalid")),
    "confirm-hold: a path as a day": ({"first": "../../x", "last": "2026-03-09", "days": 9}, (422, "invalid")),
    "confirm-hold: days as a text": ({"first": "2026-01-01", "last": "2026-01-09", "days": "9"}, (422, "invalid")),
    "confirm-hold: no days": ({"first": "2026-01-01", "last": "2026-01-09", "days": 0}, (422, "invalid")),
    "confirm-hold: nested without end": (b"[" * 1000, (422, "invalid")),
    "confirm-hold: 2 KB": (b" " * 2000, (413, "too_large")),
}


@pytest.mark.parametrize(("body", "expected"), REJECTED.values(), ids=REJECTED)
def test_what_is_no_hold_is_refused(worker: Worker, body: Any, expected: tuple[int, str]) -> None:
    answer = post(worker, body)
    assert (answer.status, answer.code) == expected
    assert confirmed_holds(worker.data) == []


def test_only_an_admin_of_all_sites_confirms(worker: Worker) -> None:
    body = seen(worker)
    made = [create_token(worker.data, "read")[1], create_token(worker.data, "admin", sites=["shop.example"])[1]]
    for secret in (INGEST_KEY, *made):
        answer = post(worker, body, token=secret)
        assert (answer.status, answer.code) == (403, "scope")
    answer = worker.request("POST", f"{HOLDS}/archive", json.dumps(body).encode(), JSON)
    assert (answer.status, answer.code) == (401, "token")
    headers = JSON | bearer(ADMIN_TOKEN) | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    answer = worker.request("POST", f"{HOLDS}/archive", json.dumps(body).encode(), headers)
    assert (answer.status, answer.code) == (403, "origin")
    assert confirmed_holds(worker.data) == []
