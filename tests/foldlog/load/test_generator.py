"""The load generator sends what is due when it is due, charges the server with waiting,
and says what was its own fault.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest

from foldlog.load.generator import Generator
from foldlog.load.measurements import percentiles
from foldlog.load.plan import Plan, arrivals
from foldlog.load.request_stream import make_requests

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{"accepted":1,"rejected":[]}'


def plan(port: int = 1, **options: object) -> Plan:
    given = {"rates": [200.0], "seconds": 1.0, "connections": 4} | options
    return Plan(host="127.0.0.1", port=port, headers="Host: a\r\n", site="http://a", run="0000abcd", **given)  # type: ignore[arg-type]


@contextmanager
def server(answers: Iterator[bytes], stall_s: float = 0.0) -> Iterator[int]:
    """Answers each request, on any number of connections, one at a time; the first
    after a stall. An empty answer closes.
    """
    lock = threading.Lock()
    stalls = iter([stall_s])

    def serve(connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65536):
                while request.count(b"\r\n\r\n") and not request.endswith(b"}]}"):
                    request += connection.recv(65536)
                with lock:
                    time.sleep(next(stalls, 0.0))
                    answer = next(answers)
                if not answer:
                    return
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()


def test_arrivals_follow_the_rates_and_warm_up_comes_first() -> None:
    due = list(arrivals(plan(rates=[100.0, 0.0, 1000.0], seconds=30.0, warm_up_s=10.0)))
    counts = [sum(start <= at < start + 10 for at in due) for start in (-10, 0, 10, 20)]
    assert due == sorted(due) and sum(counts) == len(due)
    assert counts[2] == 0
    assert counts == pytest.approx([1000, 1000, 0, 10_000], rel=0.15)


def test_requests_are_whole_and_every_id_is_new() -> None:
    ids = set()
    for request in islice(make_requests(plan(events=3, forwarded=True)), 1000):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"X-Forwarded-For: 198.1" in head
        ids |= {event["id"] for event in json.loads(body)["events"]}
    assert len(ids) == 3000


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles(range(1, 1001)) == {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999, "max": 1000}
    assert percentiles([]) == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "p99.9": 0.0, "max": 0.0}


def test_stall_is_charged_to_all_requests_due_meanwhile() -> None:
    with server(iter(lambda: ANSWER, None), stall_s=0.5) as port:
        outcome = Generator(plan(port, rates=[200.0], seconds=1.0)).run()
    assert outcome.statuses == {"200": outcome.requests}
    assert outcome.acknowledged == outcome.requests
    # Requests of the first half second waited; a closed loop would have told of the
    # four that were under way.
    assert outcome.latency["p90"] > 350
    assert outcome.waited_for_connection > 50
    assert outcome.late["p50"] < 350


def test_rejections_are_counted_by_status_and_code() -> None:
    body = b'{"code":"rate_limit"}'
    refusal = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    answers = iter([refusal] * 10)
    with server(iter(lambda: next(answers, ANSWER), None)) as port:
        outcome = Generator(plan(port)).run()
    assert outcome.statuses == {"200": outcome.requests - 10, "429": 10}
    assert outcome.codes == {"rate_limit": 10}
    assert outcome.acknowledged == outcome.requests - 10


def test_connection_that_is_cut_is_replaced_and_its_request_is_unanswered() -> None:
    answers = iter([ANSWER, b"", ANSWER, b""])
    with server(iter(lambda: next(answers, ANSWER), None)) as port:
        outcome = Generator(plan(port)).run()
    assert outcome.unanswered == 2
    assert outcome.statuses == {"200": outcome.requests - 2}


def refusal(retry_after_s: int) -> bytes:
    head = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 15\r\n\r\n" % retry_after_s
    return head + b'{"code":"busy"}'


def test_refusal_in_a_spike_is_sent_again_or_given_up() -> None:
    answers = iter([ANSWER] * 10 + [refusal(99_999), refusal(0)])
    with server(iter(lambda: next(answers, ANSWER), None)) as port:
        outcome = Generator(plan(port, rates=[30.0, 60.0, 30.0], spike=1, connections=1)).run()
    assert [each.requests for each in outcome.slices] == [10, 20, 10]
    assert [each.acknowledged for each in outcome.slices] == [10, 19, 10]
    assert [each.given_up for each in outcome.slices] == [0, 1, 0]
    assert outcome.statuses == {"200": 39, "503": 2}
    assert outcome.acknowledged == 39


def test_refusal_outside_of_a_spike_is_the_last_answer() -> None:
    answers = iter([refusal(0)])
    with server(iter(lambda: next(answers, ANSWER), None)) as port:
        outcome = Generator(plan(port, rates=[30.0, 60.0, 30.0], spike=1, connections=1)).run()
    assert [each.acknowledged for each in outcome.slices] == [9, 20, 10]
    assert outcome.statuses == {"200": 39, "503": 1}


def test_answer_that_is_not_of_foldlog_acknowledges_nothing() -> None:
    answers = iter([b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>"])
    with server(iter(lambda: next(answers, ANSWER), None)) as port:
        outcome = Generator(plan(port)).run()
    assert outcome.codes == {"unknown": 1}
    assert outcome.acknowledged == outcome.requests - 1
