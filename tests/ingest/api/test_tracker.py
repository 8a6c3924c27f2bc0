"""GET /tracker.js and /tracker.v1.js: how they are kept, and for whom they are
readable; the other paths of script and events.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from aiohttp.test_utils import make_mocked_request

from ingest.api.static_file import takes_gzip
from ingest.api.tracker import get_newest
from tests.builders.visits import SITE
from tests.builders.worker import Worker

SCRIPTS = {
    "/tracker.js": "public, max-age=3600",
    "/notes.js": "public, max-age=3600",
    "/tracker.v1.js": "public, max-age=31536000, immutable",
}
VISIT = {"Origin": f"https://{SITE}", "Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(
        tmp_path_factory.mktemp("tracker"), sites=SITE, script_path="/notes.js", collect_paths="/api/notes, /notes"
    ) as running:
        yield running


@pytest.mark.parametrize(("path", "caching"), SCRIPTS.items(), ids=SCRIPTS)
def test_script_is_kept_until_an_upgrade_changed_it(worker: Worker, path: str, caching: str) -> None:
    answer = worker.request("GET", path)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, caching)
    assert answer.headers.get_content_type() == "text/javascript"
    again = worker.request("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body, again.headers["Cache-Control"]) == (304, b"", caching)
    assert worker.request("GET", path, headers={"If-None-Match": '"of-another-version"'}).status == 200


@pytest.mark.parametrize("path", SCRIPTS)
def test_script_is_small_and_readable_for_pages_of_every_host(worker: Worker, path: str) -> None:
    plain = worker.request("GET", path)
    packed = worker.request("GET", path, headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) <= 2048
    assert packed.headers["ETag"] != plain.headers["ETag"]
    for answer in (plain, packed):
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


ENCODINGS = {"gzip": True, "br;q=1, GZIP;q=0.5": True, "": False, "br": False, "gzip;q=0": False, "gzip; q=0.0": False}
ENCODINGS["," * 8000 + "gzip"] = False  # no browser's, and not looked at to its end


@pytest.mark.parametrize(("accept", "expected"), ENCODINGS.items(), ids=ENCODINGS)
def test_script_is_compressed_for_those_who_take_it(accept: str, expected: bool) -> None:
    assert takes_gzip(accept) is expected


ODD_HEADERS = {
    "Accept-Encoding": "," * 8000,
    "If-None-Match": '"x",' * 2000,
    "Range": "bytes=" + "0-0," * 1900,
}


@pytest.mark.parametrize(("name", "text"), ODD_HEADERS.items(), ids=ODD_HEADERS)
def test_cost_of_a_load_is_not_that_of_its_headers(worker: Worker, name: str, text: str) -> None:
    """Against a header of as many bytes that nothing looks at, of which the handler
    needs microseconds. Taken apart whole, commas are 260 times that.
    """
    cpu = {header: _cpu_of_handler(worker, {header: text}) for header in (name, "X-Padding")}
    assert cpu[name] <= 20 * cpu["X-Padding"], cpu


def _cpu_of_handler(worker: Worker, headers: dict[str, str]) -> float:
    """Of the handler alone, best of some rounds."""
    request = make_mocked_request("GET", "/tracker.js", headers)
    rounds = []
    for _ in range(7):
        begun = time.process_time()
        for _ in range(200):
            with suppress(StopIteration):
                get_newest(worker.context, request).send(None)  # type: ignore[attr-defined]
        rounds.append(time.process_time() - begun)
    return min(rounds)


def test_script_has_no_head_and_is_sent_whole(worker: Worker) -> None:
    assert worker.request("HEAD", "/tracker.js").status == 405
    whole = worker.request("GET", "/tracker.js")
    part = worker.request("GET", "/tracker.js", headers={"Range": "bytes=0-0"})
    assert (part.status, part.body) == (200, whole.body)


@pytest.mark.parametrize("path", ["/api/notes", "/notes"])
def test_other_path_takes_events_as_the_first_does(worker: Worker, path: str) -> None:
    body = json.dumps({"consent": "granted", "events": [{"name": "x"}]}).encode("utf-8")
    answer = worker.request("POST", f"{path}?dry_run=1", body, VISIT)
    assert (answer.status, answer.json()) == (200, {"accepted": 1, "rejected": []})
    refused = worker.request("POST", path, b"{", VISIT)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (400, f"https://{SITE}")
    assert worker.request("OPTIONS", path, headers=VISIT).status == 204
    assert worker.request("GET", path).status == 405
    counted = {key.partition(" ")[0] for key in worker.stats.requests}
    assert "/v1/events" in counted and path not in counted  # alerts know that route
