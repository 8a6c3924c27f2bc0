"""GET /admin/api/snapshot: the file as it is on disk, with its generation as ETag."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
