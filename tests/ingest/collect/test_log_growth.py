"""What a request becomes in the log is bounded by what it brought: at most three bytes
for each of its bytes (head, and body as inflated), and 320 for each event.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.collect.encode import EVENT_BYTES, GROWTH_MAX
from tests.builders.wire import CONSENT, JSON, batch, event, wire
from tests.builders.worker import Worker

BODY_MAX_BYTES = 64 << 10
TEXTS = {
    "plain": "x",
    "quote": '"',
    "backslash": "\\",
    "newline": "\n",
    "C0": "\x01",
    "DEL": "\x7f",
    "C1": "\x80",
    "C1 and DEL": "\x80" + "\x7f" * 6,
    "C1 and letters of four bytes": "\x80" + "😀" * 12,
    "bidi": "\u202e",
    "bidi, now and then": "\u200f" + "א" * 99,
    "line separator": "\u2028",
    "two bytes": "ä",
    "three bytes": "漢",
    "four bytes": "😀",
}
# Of an event: what of a field is repeated up to its limit.
FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "name": lambda text: {"name": cut(text, 120)},
    "visitor": lambda text: {"visitor": cut(text, 100)},
    "session": lambda text: {"session": cut(text, 100)},
    "url": lambda text: {"url": "http://a/" + cut(text, 1_900)},
    "referrer": lambda text: {"referrer": "http://a/" + cut(text, 1_900)},
    "a property": lambda text: {"props": {"a": cut(text, 2_000)}},
    "30 properties": lambda text: {"props": {f"k{number}": cut(text, 400) for number in range(30)}},
    "keys of properties": lambda text: {"props": {cut(text, 98) + f"{number:02}": 1 for number in range(30)}},
}
NUMBERS = {
    "floats with many digits": b'{"name":"a","props":{%b}}'
    % b",".join(b'"%c":1e15' % (97 + number) for number in range(26)),
    "large floats": b'{"name":"a","value":1e308,"props":{"a":1e308,"b":1e16,"c":1E-7}}',
    "long integers": b'{"name":"a","value":9007199254740991,"props":{"a":-9007199254740991}}',
    "small floats": b'{"name":"a","value":1e-5,"props":{%b}}'
    % b",".join(b'"%c":1e-5' % (97 + number) for number in range(26)),
}
AGENTS = {
    "none": "",
    "of a browser": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0",
    "of 500 bytes": "x" * 500,
    "of 8,000 bytes": "x" * 8_000,
    "C1": "\x80" * 488,
    "quotes": '"' * 500,
    "not UTF-8": "\xff" * 500,
}


def cut(text: str, length: int) -> str:
    return (text * length)[:length]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(
        tmp_path_factory.mktemp("growth"),
        trusted_proxies="127.0.0.1",
        country_header="CF-IPCountry",
        segment_max_bytes=2 << 30,
    ) as running:
        yield running


def growth(worker: Worker, body: bytes, events: int, *headers: str, host: str = "example.com") -> float:
    """(bytes of log - 320 an event) / bytes of the request. 0 where it was refused."""
    sent = wire(f"Origin: http://{host}", CONSENT, JSON, *headers, body=body).replace(b"example.com", host.encode(), 1)
    before = worker.position()
    answer = worker.exchange(sent)
    written = worker.position() - before
    if not written:
        assert 400 <= answer.status < 500, answer
        return 0.0
    accepted = int(answer.json()["accepted"])
    assert 0 < accepted <= events
    return (written - EVENT_BYTES * accepted) / len(sent)


def many(one: bytes) -> tuple[bytes, int]:
    """As many events as fit into a batch."""
    count = min(500, (BODY_MAX_BYTES - 20) // (len(one) + 1))
    return batch(*[one] * count), count


def test_no_field_grows_beyond_three_times_the_request(worker: Worker) -> None:
    found = {}
    for field, make in FIELDS.items():
        for name, text in TEXTS.items():
            for ascii_ in (False, True):
                one = json.dumps({"name": "a"} | make(text), ensure_ascii=ascii_).encode("utf-8")
                found[f"{field}: {name}{', escaped' * ascii_}"] = growth(worker, *many(one))
    found |= {name: growth(worker, *many(one)) for name, one in NUMBERS.items()}
    worst = max(found, key=lambda name: found[name])
    sys.stdout.write(f"the most of {len(found)} texts in fields: {found[worst]:.2f} ({worst})\n")
    assert found[worst] <= GROWTH_MAX, worst
    assert len([name for name in found if found[name]]) > 100  # most are accepted


def test_no_header_multiplies_by_many_small_events(worker: Worker) -> None:
    """The agent and the name of the site stand on every line."""
    found = {}
    for count in (1, 2, 20, 100, 500):
        body = batch(*[b'{"name":"a"}'] * count)
        for name, agent in AGENTS.items():
            for host in ("example.com", ("h" * 60 + ".") * 4 + "example"):
                headers = [f"User-Agent: {agent}", "Accept-Language: deu", "CF-IPCountry: DE"]
                found[name, count, len(host)] = growth(worker, body, count, *headers, host=host)
    worst = max(found, key=lambda each: found[each])
    sys.stdout.write(f"the most of {len(found)} agents, hosts and batches: {found[worst]:.2f} {worst}\n")
    assert found[worst] <= GROWTH_MAX, worst


def test_honest_agent_is_whole(worker: Worker) -> None:
    """Also in a full batch of what a page sends."""
    agent = AGENTS["of a browser"]
    events = [event(url=f"https://example.com/{number}", time=worker.context.now_ms()) for number in range(500)]
    for sent in (events, events[:1], [b'{"name":"a"}'] * 20):
        before = worker.position()
        headers = ("Sec-Fetch-Site: same-origin", CONSENT, JSON, f"User-Agent: {agent}")
        assert worker.exchange(wire(*headers, body=batch(*sent))).status == 200
        assert {line["ua"] for line in worker.appended(before)} == {agent}


def test_agent_is_left_out_where_it_would_be_most_of_the_log(worker: Worker) -> None:
    before = worker.position()
    headers = ("Sec-Fetch-Site: same-origin", CONSENT, JSON, "User-Agent: " + "x" * 500)
    assert worker.exchange(wire(*headers, body=batch(*[b'{"name":"a"}'] * 500))).status == 200
    assert ["ua" in line for line in worker.appended(before)] == [False] * 500


def test_long_site_with_many_small_events_is_refused(worker: Worker) -> None:
    host = ("h" * 60 + ".") * 4 + "example"
    body = batch(*[b'{"name":"a"}'] * 500)
    sent = wire(f"Origin: http://{host}", CONSENT, JSON, body=body).replace(b"example.com", host.encode(), 1)
    answer = worker.exchange(sent)
    assert (answer.status, answer.code) == (413, "too_large")
