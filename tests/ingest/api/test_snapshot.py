"""GET /admin/api/snapshot: the file as it is on disk, with its generation as ETag."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shared.generations.snapshot import decode_snapshot, encode_snapshot
from tests.builders.visits import SITE, send_visits
from tests.builders.worker import Worker


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("snapshot"), sites=SITE) as running:
        send_visits(running)
        yield running


def test_snapshot_is_the_file_on_disk_and_304_while_unchanged(worker: Worker) -> None:
    first = worker.get("/admin/api/snapshot")
    assert first.body == worker.data.snapshot.read_bytes()
    assert f'"{first.json()["generation"]}"' == first.headers["ETag"]
    again = worker.get("/admin/api/snapshot", {"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert worker.get("/admin/api/snapshot", {"If-None-Match": '"0"'}).status == 200
    worker.fold()
    assert worker.get("/admin/api/snapshot", {"If-None-Match": first.headers["ETag"]}).status == 304
    send_visits(worker)  # the same again: nothing counts, but there is a generation
    later = worker.get("/admin/api/snapshot", {"If-None-Match": first.headers["ETag"]})
    assert (later.status, later.json()["generation"]) == (200, first.json()["generation"] + 1)


def test_summary_is_the_one_of_the_snapshot(worker: Worker) -> None:
    whole = worker.get("/admin/api/snapshot")
    summary = worker.get("/admin/api/snapshot?view=summary")
    assert summary.json() == whole.json()["summary"]
    assert summary.json()["sites"][0]["site"] == SITE
    assert summary.headers["ETag"] == whole.headers["ETag"]
    etag = {"If-None-Match": summary.headers["ETag"]}
    assert worker.get("/admin/api/snapshot?view=summary", etag).status == 304


@pytest.mark.parametrize("query", ["view=all", "view=", "view=summary&view=summary", "days=1", "view=summary&x="])
def test_anything_else_is_a_bad_request(worker: Worker, query: str) -> None:
    answer = worker.get(f"/admin/api/snapshot?{query}")
    assert (answer.status, answer.code) == (400, "query")


def test_snapshot_of_an_earlier_release_has_no_summary_yet(worker: Worker) -> None:
    snapshot = decode_snapshot(worker.data.snapshot.read_bytes(), worker.data.snapshot)
    whole = worker.data.snapshot.read_bytes()
    try:
        worker.data.snapshot.write_bytes(encode_snapshot(replace(snapshot, summary=None)))
        answer = worker.get("/admin/api/snapshot?view=summary")
        assert (answer.status, answer.code) == (404, "no_summary")
    finally:
        worker.data.snapshot.write_bytes(whole)
