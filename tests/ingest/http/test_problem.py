"""Error responses: each has a request id, and names no library."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ingest.http.problem import Problem
from tests.builders.wire import (
    CONSENT,
    JSON,
    SAME_ORIGIN,
    VALID,
    assert_problem,
    closing,
    coded,
    exchange,
    padded,
    page,
    wire,
)
from tests.builders.worker import Worker

KIB = 1 << 10


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("problem"), log_level="debug") as running:
        yield running


def test_malformed_chunk_is_rejected_at_once_even_after_a_pause(worker: Worker) -> None:
    with worker.connect() as connection:
        connection.sendall(coded(b""))
        time.sleep(0.2)
        # 408 would mean that the server waited for the rest of the body.
        assert exchange(connection, b"zz\r\n{}\r\n0\r\n\r\n").status == 400


def test_length_with_thousands_of_zeros_is_not_a_server_error(worker: Worker) -> None:
    length = str(len(VALID)).zfill(5000)
    assert worker.exchange(wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, length=length)).status in {200, 400}


PROBLEMS = {
    "400 body": closing(page(b"{")),
    "401": closing(page(VALID, "Authorization: Bearer x")),
    "403 origin": closing(wire(CONSENT, JSON, body=VALID)),
    "403 consent": closing(wire(SAME_ORIGIN, JSON, body=VALID)),
    "403 preflight": closing(wire(method="OPTIONS")),
    "404": closing(wire(path="/nothing")),
    "405": closing(wire(method="PUT")),
    "413": closing(page(padded(65 * KIB))),
    "415": closing(page(media_type="Content-Type: text/html")),
    "417": closing(page(VALID, "Expect: bananas")),
    "422": closing(page(b"null")),
    "400 malformed request line": b"GET\r\n\r\n",
    "400 malformed header": b"GET / HTTP/1.1\r\nHost: x\r\nX-Mark : y\r\n\r\n",
    "400 malformed chunk": coded(b"zz\r\n"),
    "400 long header": page(VALID, "X-Mark: " + "x" * 9000),
    "400 no Host": b"GET / HTTP/1.1\r\n\r\n",
    "400 HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("sent", PROBLEMS.values(), ids=PROBLEMS)
def test_every_problem_has_a_request_id_and_names_no_library(worker: Worker, sent: bytes) -> None:
    assert_problem(worker.read_all(sent))


def test_request_ids_are_unique(worker: Worker) -> None:
    assert len({worker.exchange(page(b"{")).headers["X-Request-Id"] for _ in range(20)}) == 20


def test_request_id_of_an_untrusted_client_is_ignored(worker: Worker) -> None:
    answer = worker.exchange(page(b"{", "X-Request-Id: 0123456789abcdef0123"))
    assert answer.headers["X-Request-Id"] != "0123456789abcdef0123"


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    directory = tmp_path_factory.mktemp("proxy")
    with Worker(directory, trusted_proxies="127.0.0.1", log_level="debug") as running:
        yield running


REQUEST_IDS = {
    "too long": "x" * 65,
    "as long as a header may be": "x" * 8_000,
    "too short": "x",
    "colours": "abcdefgh\x1b[31m",
    "C1": "abcdefgh\x9b31m",
    "not ASCII": "abcdefghä",
    "other signs": "abcdefgh;DROP",
    "blanks": "abcdefgh ijkl",
    "empty": "",
}


@pytest.mark.parametrize("given", REQUEST_IDS.values(), ids=REQUEST_IDS)
def test_odd_request_id_of_a_trusted_proxy_is_neither_logged_nor_sent_back(behind_proxy: Worker, given: str) -> None:
    answer = behind_proxy.exchange(page(b"{", f"X-Request-Id: {given}"))
    id_ = answer.headers.get("X-Request-Id", "")
    assert answer.status == 400 and len(id_) <= 64 and id_.isascii() and id_.isprintable()
    assert not given or given not in id_
    assert not any(given and given in str(entry) for entry in behind_proxy.log.entries)


def test_ordinary_request_id_of_a_trusted_proxy_is_kept(behind_proxy: Worker) -> None:
    for given in ("0123456789abcdef0123456789abcdef", "7d444840-9dc0-11d1-b245-5ffdce74fad2"):
        assert behind_proxy.exchange(page(b"{", f"X-Request-Id: {given}")).headers["X-Request-Id"] == given


@pytest.mark.parametrize(
    ("status", "title"), [(401, "Unauthorized"), (413, "Content Too Large"), (422, "Unprocessable Content")]
)
def test_title_is_the_status_phrase_on_every_python(status: int, title: str) -> None:
    assert Problem(status, "code", "detail").title == title
