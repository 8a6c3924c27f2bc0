"""Events that are rejected one by one, while the rest of their batch is stored.

Rows are named by their rule in docs/bad-input.md.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

import pytest

from shared.timestamps import now_ms
from tests.builders.wire import (
    batch,
    event,
    keyed,
    nested,
    page,
)
from tests.builders.worker import Worker

OLD_MS = now_ms() - 40 * 86_400_000


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for all rows: after thousands of bad requests it still works, and its
    data directory verifies.
    """
    with Worker(tmp_path_factory.mktemp("events")) as running:
        yield running


# One bad event between two good ones: its code and field, while the others are stored.
REJECTED: dict[str, tuple[bytes, str, str | None]] = {
    "infinite-number: 1e400": (b'{"name":"x","value":1e400}', "value_out_of_range", "value"),
    "long-integer: an integer of 5000 digits": (
        b'{"name":"x","value":' + b"9" * 5000 + b"}",
        "value_out_of_range",
        "value",
    ),
    "long-integer: the same in props": (
        b'{"name":"x","props":{"a":' + b"9" * 5000 + b"}}",
        "props_out_of_range",
        "props",
    ),
    "large-integer: 2^53+1 as value": (event(value=2**53 + 1), "value_out_of_range", "value"),
    "large-integer: -2^53 as value": (event(value=-(2**53)), "value_out_of_range", "value"),
    "large-integer: 2^53+1 in props": (event(props={"a": 2**53 + 1}), "props_out_of_range", "props"),
    "large-integer: 2^64 in props": (event(props={"a": 2**64}), "props_out_of_range", "props"),
    "huge-event: an array of 10,000 in props": (event(props={"a": [1] * 10_000}), "props_type", "props"),
    "huge-event: 10,000 events in an event": (b"[" + b",".join([b"{}"] * 10_000) + b"]", "event_type", None),
    "huge-event: 2000 keys in props": (event(props={f"k{n}": 1 for n in range(2000)}), "props_too_long", "props"),
    "huge-event: 2000 keys beside the name": (event(**{f"k{n}": 1 for n in range(2000)}), "unknown_field", "k0"),
    "huge-event: a key of 30 KB": (event(props={"k" * 30_000: 1}), "props_too_long", "props"),
    "line-break: a newline in the name": (event(name="a\nb"), "name_invalid", "name"),
    "line-break: a carriage return in the name": (event(name="a\rb"), "name_invalid", "name"),
    "line-break: a newline in the visitor": (event(visitor="a\nb"), "visitor_invalid", "visitor"),
    "line-break: a newline in the url": (event(url="https://example.com/\n"), "url_invalid", "url"),
    "terminal-control: ESC in the name": (event(name="\x1b[2J"), "name_invalid", "name"),
    "terminal-control: C1 in the name": (event(name="\x9b2J"), "name_invalid", "name"),
    "terminal-control: DEL in the name": (event(name="\x7f"), "name_invalid", "name"),
    "terminal-control: bidi in the name": (event(name="\u202e"), "name_invalid", "name"),
    "terminal-control: U+2028 in the name": (event(name="\u2028"), "name_invalid", "name"),
    "id-form: id in NFC": (event(id=unicodedata.normalize("NFC", "identité-1")), "id_invalid", "id"),
    "id-form: id in NFD": (event(id=unicodedata.normalize("NFD", "identité-1")), "id_invalid", "id"),
    "bad-id: id empty": (event(id=""), "id_too_short", "id"),
    "bad-id: id a number": (event(id=123456789), "id_type", "id"),
    "bad-id: id of 30 KB": (event(id="x" * 30_000), "id_too_long", "id"),
    "bad-id: id with spaces": (event(id="12345 678"), "id_invalid", "id"),
    "unknown-field: an unknown field": (event(nmae="x"), "unknown_field", "nmae"),
    "unknown-field: a sender, which only the server knows": (event(sender="key"), "unknown_field", "sender"),
    "unknown-field: no sender": (event(sender=None), "unknown_field", "sender"),
    "unknown-field: whose visitor it is": (event(visitor="v-1", daily=False), "unknown_field", "daily"),
    "unknown-field: a crc": (event(crc="00000000"), "unknown_field", "crc"),
    "bad-time: time abc": (event(time="abc"), "time_invalid", "time"),
    "bad-time: time -1": (event(time=-1), "time_out_of_range", "time"),
    "bad-time: 40 days old": (event(time=OLD_MS), "too_old", "time"),
    "bad-time: a leap second": (event(time="2026-11-22T15:59:60Z"), "time_invalid", "time"),
    "bad-time: no zone": (event(time="2026-11-22T15:59:59"), "time_invalid", "time"),
    "name-as-path: name of 300 characters": (event(name="x" * 300), "name_too_long", "name"),
    "repeated-key: a key twice": (b'{"name":"x","name":"y"}', "key_repeated", "name"),
    "repeated-key: a key twice with the same value": (b'{"name":"x","value":1,"value":1}', "key_repeated", "value"),
    "repeated-key: a key twice, once null": (
        b'{"name":"x","url":null,"url":"https://example.com/"}',
        "key_repeated",
        "url",
    ),
    "repeated-key: a key twice, once escaped": (rb'{"name":"x","n\u0061me":"y"}', "key_repeated", "name"),
    "repeated-key: a key twice, with blanks before the colon": (b'{"name" : "x","name" : "y"}', "key_repeated", "name"),
    "repeated-key: a key twice in props": (b'{"name":"x","props":{"a":1,"a":2}}', "key_repeated", "a"),
    "repeated-key: a key twice in props, beside a text that holds a colon": (
        rb'{"name":"x","props":{"a":"\":","a":2}}',
        "key_repeated",
        "a",
    ),
    "event-type: a text": (b'"x"', "event_type", None),
    "event-size: 33 KiB": (event(props={"a": "x" * (33 << 10)}), "event_too_large", None),
}


@pytest.mark.parametrize(("bad", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_invalid_event_is_rejected_and_its_neighbours_are_stored(
    worker: Worker, bad: bytes, code: str, field: str | None
) -> None:
    before = worker.position()
    answer = worker.exchange(page(batch(event(name="left"), bad, event(name="right"))))
    assert answer.status == 200
    (rejected,) = answer.json()["rejected"]
    assert (answer.json()["accepted"], rejected["index"], rejected["code"], rejected.get("field")) == (
        2,
        1,
        code,
        field,
    )
    assert rejected["detail"]
    assert [line["name"] for line in worker.appended(before)] == ["left", "right"]


@pytest.mark.parametrize(("bad", "code", "_field"), REJECTED.values(), ids=REJECTED)
def test_batch_of_invalid_events_only_is_422(worker: Worker, bad: bytes, code: str, _field: str | None) -> None:
    before = worker.position()
    answer = worker.exchange(keyed(batch(bad, bad)))
    assert answer.status == 422
    assert answer.headers.get_content_type() == "application/json"
    assert [(found["index"], found["code"]) for found in answer.json()["rejected"]] == [(0, code), (1, code)]
    assert answer.json()["accepted"] == 0
    assert worker.position() == before


PLACES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    # where the nesting is: how deep that is already, and the batch around it
    "a property": (4, lambda inside: batch(b'{"name":"x","props":{"a":' + inside + b"}}")),
    "props": (3, lambda inside: batch(b'{"name":"x","props":' + inside + b"}")),
    "an unknown field": (3, lambda inside: batch(b'{"name":"x","y":' + inside + b"}")),
    "an event": (2, batch),
    "the batch": (1, lambda inside: b'{"events":[{"name":"x"}],"y":' + inside + b"}"),
}
DEPTHS = {
    f"nesting: depth {depth} of {brackets} in {place}": around(nested(depth - above, brackets))
    for depth in (17, 100, 1000, 1024)
    for brackets in ("arrays", "objects")
    for place, (above, around) in PLACES.items()
}


@pytest.mark.parametrize("body", DEPTHS.values(), ids=DEPTHS)
def test_body_of_17_to_1024_levels_is_too_deep(worker: Worker, body: bytes) -> None:
    before = worker.position()
    answer = worker.exchange(page(body))
    assert (answer.status, answer.code) == (422, "too_deep")
    assert worker.position() == before


# Events that only a key can send, because a page's body must be smaller.
ENORMOUS = {
    "huge-event: 10,000 keys in props": event(props={f"k{n}": 1 for n in range(10_000)}),
    "huge-event: a text of a megabyte": event(props={"a": "x" * 1_000_000}),
    "huge-event: a name of a megabyte": event(name="x" * 1_000_000),
    "bad-id: an id of a megabyte": event(id="x" * 1_000_000),
}


@pytest.mark.parametrize("bad", ENORMOUS.values(), ids=ENORMOUS)
def test_enormous_event_is_rejected_and_its_neighbours_are_stored(worker: Worker, bad: bytes) -> None:
    before = worker.position()
    answer = worker.exchange(keyed(batch(event(name="left"), bad, event(name="right"))))
    assert answer.status == 200
    assert [(found["index"], found["code"]) for found in answer.json()["rejected"]] == [(1, "event_too_large")]
    assert [line["name"] for line in worker.appended(before)] == ["left", "right"]
