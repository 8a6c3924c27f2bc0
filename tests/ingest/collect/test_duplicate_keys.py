"""A repeated key in an object is found however it is written, and no string is mistaken
for a key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.body import JSON, NDJSON
from ingest.collect.duplicate_keys import keys_in, outermost_repeats, repeated_key
from ingest.collect.event import EVENT_MAX_BYTES, WHOLE_MAX, Event
from ingest.collect.native import decode
from ingest.collect.validate import Rejection
from ingest.http.problem import Problem

MAX_EVENTS = 30
Pairs = list[tuple[str, Any]]

# JSON text, its first repeated key, and whether its outermost object has one.
TEXTS: dict[str, tuple[str, str | None, bool]] = {
    "no key": ("{}", None, False),
    "one key": ('{"a":1}', None, False),
    "two keys": ('{"a":1,"b":1}', None, False),
    "twice": ('{"a":1,"a":2}', "a", True),
    "twice with the same value": ('{"a":1,"a":1}', "a", True),
    "twice, the last null": ('{"a":1,"a":null}', "a", True),
    "twice, far apart": ('{"a":1,"b":2,"c":3,"a":4}', "a", True),
    "three times": ('{"a":1,"a":2,"a":3}', "a", True),
    "twice, once escaped": ('{"a":1,"\\u0061":2}', "a", True),
    "twice, each escaped otherwise": ('{"\\/":1,"\\u002f":2}', "/", True),
    "twice, escaped as a pair of surrogates": ('{"😀":1,"\\ud83d\\ude00":2}', "😀", True),
    "twice and empty": ('{"":1,"":2}', "", True),
    "twice with a blank before the colon": ('{"a" :1,"a" :2}', "a", True),
    "twice with a newline before the colon": ('{"a"\n:1,"a"\n:2}', "a", True),
    "twice with a tab before one colon": ('{"a"\t:1,"a":2}', "a", True),
    "twice with a carriage return before the colon": ('{"a"\r:1,"a":2}', "a", True),
    "twice inside": ('{"a":{"b":1,"b":2}}', "b", False),
    "twice in a list": ('{"a":[{"b":1},{"c":1,"c":2}]}', "c", False),
    "twice inside of what is repeated": ('{"a":{"b":1,"b":2},"a":3}', "b", True),
    "the same key in two objects": ('{"a":{"a":1},"b":{"a":1}}', None, False),
    "the same key in two cases": ('{"a":1,"A":2}', None, False),
    "a key that looks like the other's escape": ('{"a":1,"\\\\u0061":2}', None, False),
    "a key in NFC and in NFD": ('{"\u00e9":1,"e\u0301":2}', None, False),
    "a text like a key": ('{"a":"a","b":"\\"a\\":"}', None, False),
    "a text like an object": ('{"a":"{\\"b\\":1,\\"b\\":2}"}', None, False),
    "a text that ends in a backslash": ('{"a":"\\\\","b":":"}', None, False),
    "a key that holds a quote and a colon": ('{"\\":":1,"a\\":":2}', None, False),
    "a number of 5000 digits": ('{"a":' + "9" * 5000 + ',"b":1}', None, False),
    "twice with a number of 5000 digits": ('{"a":' + "9" * 5000 + ',"a":1}', "a", True),
}


@pytest.mark.parametrize(("text", "key", "outermost"), TEXTS.values(), ids=TEXTS)
def test_repeated_key_is_found(text: str, key: str | None, outermost: bool) -> None:
    assert repeated_key(text.encode()) == key
    assert outermost_repeats(text.encode()) is outermost


def count(text: str) -> int:
    """How many keys JSON has, by another parser."""
    found: list[Pairs] = []
    json.loads(text, object_pairs_hook=found.append, parse_int=str)
    return sum(map(len, found))


@pytest.mark.parametrize(("text", "_key", "_outermost"), TEXTS.values(), ids=TEXTS)
def test_count_of_keys_is_never_too_low(text: str, _key: str | None, _outermost: bool) -> None:
    """Too high only costs a second parse; too low would miss a repeated key."""
    counted = keys_in(text.encode())
    assert counted == -1 or counted >= count(text)


ACCEPTED = {
    "compact": b'{"name":"x","props":{"a":1}}',
    "explicit nulls": b'{"name":"x","id":null,"url":null,"value":null,"props":null,"visitor":null}',
    "nulls in props": b'{"name":"x","props":{"a":null,"b":null}}',
    "empty props": b'{"name":"x","props":{}}',
    "field names in props": b'{"name":"x","props":{"name":"y","props":"z","events":1}}',
    "blanks before colons": b'{"name" : "x", "props" : {"a" : 1}}',
    "newlines before colons": b'{"name"\n:\n"x","value"\r\n:\t1}',
    "a text with quote and colon": rb'{"name":"x\":","props":{"a":"\":\":\":"}}',
    "a text like an event": rb'{"name":"{\"name\":\"x\",\"name\":\"y\"}"}',
    "a key with quote and colon": rb'{"name":"x","props":{"\":":1,"\":\":":2}}',
    "an escaped key": rb'{"n\u0061me":"x"}',
}


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_event_without_a_repeated_key_is_accepted(text: bytes, media_type: str) -> None:
    body = b'{"events":[%b]}' % text if media_type == JSON else b" ".join(text.split(b"\n"))
    (event,) = decode(body, media_type, MAX_EVENTS).events
    assert isinstance(event, Event)


# An event of any fields in any order; strings and keys that look like JSON are the most
# likely to be misread.
TEXT = st.text(max_size=12) | st.sampled_from(
    ['":', '"a":1,"a":', "\\", '\\"', "a" * 100, '{"name":"x"}', '" :', "\n:"]
)
NUMBER = st.integers(-WHOLE_MAX, WHOLE_MAX) | st.floats(allow_nan=False, allow_infinity=False)
FIELDS = {
    "name": TEXT.filter(bool),
    "id": st.none() | st.text(min_size=8, max_size=64),
    "time": st.none() | st.integers(0, 10**13) | st.just("2026-11-22T15:59:58Z"),
    "visitor": st.none() | TEXT.filter(bool),
    "session": st.none() | TEXT.filter(bool),
    "url": st.none() | TEXT.filter(bool),
    "referrer": st.none() | TEXT.filter(bool),
    "value": st.none() | NUMBER,
}
PROPS = st.none() | st.dictionaries(TEXT.filter(bool), TEXT | NUMBER | st.booleans() | st.none(), max_size=5)


@st.composite
def events(draw: st.DrawFn) -> Pairs:
    """The fields of a valid event, `props` as pairs as well."""
    names = draw(st.sets(st.sampled_from([*FIELDS, "props"]))) | {"name"}
    found: Pairs = []
    for name in draw(st.permutations(sorted(names))):
        value = draw(PROPS) if name == "props" else draw(FIELDS[name])
        found.append((name, list(value.items()) if isinstance(value, dict) else value))
    return found


# How a client may write JSON: the blanks around commas and colons, and the escapes.
STYLES = {
    "compact": (",", ":", True),
    "compact, UTF-8": (",", ":", False),
    "spaced": (", ", ": ", True),
    "spaced, UTF-8": (", ", ": ", False),
    "blanks before colons": (" ,", " : ", False),
    "tabs before colons": (",", "\t:", False),
    "indented": (",\n  ", ": ", False),
    "newlines before colons": (",", "\r\n:\r\n", True),
}
ANY_STYLE = st.sampled_from(sorted(STYLES))


def write(value: Any, style: str) -> str:
    """JSON of pairs, in which a key may be repeated."""
    comma, colon, ascii_only = STYLES[style]
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=ascii_only)
    pairs = [f"{json.dumps(key, ensure_ascii=ascii_only)}{colon}{write(inside, style)}" for key, inside in value]
    return "{" + comma.join(pairs) + "}"


def batch(*texts: str, padding: int = 0) -> bytes:
    return ('{"events":[' + ",".join(texts) + "]}" + " " * padding).encode()


NEIGHBOUR = '{"name":"neighbour"}'
# Many events are validated together.
NEIGHBOURS = st.sampled_from([1, 10])


@given(st.lists(events(), min_size=1, max_size=12), ANY_STYLE, st.sampled_from([0, EVENT_MAX_BYTES]))
def test_any_event_without_a_repeated_key_is_accepted_in_any_style(
    found: list[Pairs], style: str, padding: int
) -> None:
    texts = [write(pairs, style) for pairs in found]
    decoded = decode(batch(*texts, padding=padding), JSON, MAX_EVENTS)
    assert all(isinstance(event, Event) for event in decoded.events)
    assert [event.name for event in decoded.events if isinstance(event, Event)] == [
        dict(pairs)["name"] for pairs in found
    ]


def as_it_is(key: str) -> str:
    return json.dumps(key)


def escaped(key: str) -> str:
    units = key.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4)) + '"'


@given(
    st.data(),
    events(),
    ANY_STYLE,
    st.sampled_from([as_it_is, escaped]),
    st.sampled_from([0, EVENT_MAX_BYTES]),
    NEIGHBOURS,
)
def test_any_event_with_one_key_repeated_is_rejected_in_any_style(
    data: st.DataObject, pairs: Pairs, style: str, spell: Callable[[str], str], padding: int, count: int
) -> None:
    """The key stands once more, anywhere in its object, with its own value or none, in
    another spelling or the same.
    """
    inner = next((value for name, value in pairs if name == "props" and value), None)
    where = data.draw(st.sampled_from([pairs, inner])) if inner else pairs
    key, value = data.draw(st.sampled_from(where))
    optional = where is inner or key != "name"
    mark = "\x00repeated\x00"
    again = data.draw(st.sampled_from([value, None])) if optional else value
    where.insert(data.draw(st.integers(0, len(where))), (mark, again))
    ascii_only = STYLES[style][2]
    text = write(pairs, style).replace(json.dumps(mark, ensure_ascii=ascii_only), spell(key))

    left, right = [NEIGHBOUR] * count, [NEIGHBOUR] * count
    found = decode(batch(*left, text, *right, padding=padding), JSON, MAX_EVENTS).events
    assert [isinstance(event, Event) for event in found] == [True] * count + [False] + [True] * count
    rejected = found[count]
    assert isinstance(rejected, Rejection)
    assert (rejected.index, rejected.code, rejected.field) == (count, "key_repeated", key)


OUTER: Pairs = [("sent_at", 1795363200000), ("consent", "granted")]


@given(st.data(), events(), ANY_STYLE, st.sampled_from([as_it_is, escaped]), st.sampled_from([0, EVENT_MAX_BYTES]))
def test_batch_with_a_repeated_key_is_malformed_in_any_style(
    data: st.DataObject, pairs: Pairs, style: str, spell: Callable[[str], str], padding: int
) -> None:
    comma, colon, _ = STYLES[style]
    members = [("events", f"[{write(pairs, style)}]"), *[(key, json.dumps(value)) for key, value in OUTER]]
    key, value = data.draw(st.sampled_from(members))
    written = [f"{as_it_is(name)}{colon}{inside}" for name, inside in data.draw(st.permutations(members))]
    body = "{" + comma.join(written) + "}" + " " * padding
    assert len(decode(body.encode(), JSON, MAX_EVENTS).events) == 1

    written.insert(data.draw(st.integers(0, len(written))), f"{spell(key)}{colon}{value}")
    with pytest.raises(Problem) as caught:
        decode(("{" + comma.join(written) + "}" + " " * padding).encode(), JSON, MAX_EVENTS)
    assert (caught.value.status, caught.value.code) == (400, "malformed")
