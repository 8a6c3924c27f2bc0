"""How one body becomes another. Most changes keep JSON what it is, and change what it
says: others rarely get past its parser.

A body that is compressed is mostly changed inside, for the same reason. What changes
bytes blindly is libFuzzer's part.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from tests.bench.fuzz_bodies import FORMS, pack, split, unpack

Mutate = Callable[[bytes, int], bytes]

FORM_CHANGES = 0.02
INSIDE = 0.9  # of what can be taken out of its encoding
LARGE = 0.05
ANEW = 0.35
BYTES = 0.1
TOKENS = 0.15

SMALL_BYTES = 4 << 10
LARGE_BYTES = 128 << 10

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+\w.]+|[\[\]{}:,]', re.DOTALL)
_FIELDS = (
    "name",
    "id",
    "time",
    "visitor",
    "session",
    "url",
    "referrer",
    "value",
    "props",
    "events",
    "sent_at",
    "consent",
)
_TEXTS = (
    "", "0", "-1", "undefined", "[object Object]", "anonymous", "granted", "denied", "a" * 7, "a" * 64, "a" * 65,
    "n" * 121, "v" * 101, "x" * 2001, "http://", "HTTPS://x/", "javascript:alert(1)",
    "https://example.com/" + "p" * 1980,
    "é", "\u202egnp.exe", "\x7f", "\u2028", "\x9b31m", "😀", "\ufeff", "\ufffe", "\r\n", "\x1b[2J", "\0",
    '":"', "__proto__",
    "2026-11-22T10:00:00Z", "2026-11-22T10:00:00.123456789+14:00", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-23:59", "=cmd|' /C calc'!A0",
    "../../etc/passwd", "' OR 1=1 --",
)  # fmt: skip
_NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53 - 1,
    2**53,
    -(2**53),
    2**63,
    253_402_300_799_999,
    253_402_300_800_000,
    0.1,
    -0.0,
    1e20,
    1e308,
    5e-324,
)
_TOKENS = [
    *[orjson.dumps(text) for text in (*_FIELDS, *_TEXTS)],
    *[orjson.dumps(field) + b":" for field in _FIELDS],
    *b'null true false 0 -0 -0.0 1 1.5 1e20 1e308 1e309 -1e400 1e-400 NaN Infinity 9007199254740991 '
     b'9007199254740992'.split(),
    *b'253402300799999 253402300800000 18446744073709551616 0x10 01 1. .5 +1 // /* { } [ ] : , ; " \' \\ \\"'.split(),
    *b'{} [] {"a":1} [1] [[]] {"events":[]} {"name":"x"} "name":"x", "\\ud800" "\\udc00" "\\ud83d\\ude00" '
     b'"\\u0000"'.split(),
    *b'"\\u001b[31m" "\\x" "\\u12" \xff \xc0\x80 \xed\xa0\x80 \xf5\x80\x80\x80 \xef\xbb\xbf \xc2\x85 '
     b'\xe2\x80\xa8'.split(),
    b" ", b"\t", b"\n", b"\r\n", b"\x00", b'" :', b"1" * 400, b"[" * 200, b'{"a":' * 200, b"[" * 1100,
]  # fmt: skip


def mutated(data: bytes, max_size: int, pick: random.Random, mutate: Mutate) -> bytes:
    """Another input, made from this one. `mutate` is what changes bytes without knowing
    what they are.
    """
    form, body = split(data)
    if pick.random() < FORM_CHANGES:
        form = pick.randrange(len(FORMS))
    encoding = FORMS[form][1].lower()
    # Many events in one body take most of the time and say little that few do not.
    plain = (
        unpack(body, encoding, LARGE_BYTES if pick.random() < LARGE else SMALL_BYTES)
        if pick.random() < INSIDE
        else None
    )
    body = mutate(body, max_size - 1) if plain is None else pack(changed(plain, pick, mutate), encoding)
    return (bytes([form]) + body)[:max_size]


def changed(plain: bytes, pick: random.Random, mutate: Mutate) -> bytes:
    """A body without its encoding, changed in one of three ways; now and then another
    valid one in its place.
    """
    if pick.random() < ANEW:
        plain = _anew(pick, lines=pick.random() < 0.3)
    kind = pick.random()
    if kind < BYTES:
        return mutate(plain, max(len(plain) + 64, 256))
    if kind < BYTES + TOKENS:
        return _token_changed(plain, pick)
    for _ in range(pick.randrange(1, 3)):
        plain = _value_changed(plain, pick)
    return plain


def _token_changed(plain: bytes, pick: random.Random) -> bytes:
    """A token of JSON replaced, removed, or put in; or copied from another place."""
    found = _TOKEN.search(plain, pick.randrange(len(plain) + 1))
    start, end = found.span() if found else (len(plain), len(plain))
    kind = pick.random()
    if kind < 0.1:
        return plain[:start] + plain[end:]
    if kind < 0.3:
        copied = pick.randrange(len(plain) + 1)
        return plain[:start] + plain[copied : copied + pick.randrange(64)] + plain[end:]
    token = pick.choice(_TOKENS)
    return plain[:start] + token + plain[start if kind < 0.5 else end :]


def _value_changed(plain: bytes, pick: random.Random) -> bytes:
    """One value of the JSON replaced, removed, copied or put in: of a line of it, where
    lines are JSON by themselves.
    """
    start = plain.rfind(b"\n", 0, pick.randrange(len(plain) + 1)) + 1
    end = plain.find(b"\n", start) if b"\n" in plain[start:] else len(plain)
    try:
        root = orjson.loads(plain[start:end])
        spots = _spots(root)
        if spots:
            _change(*pick.choice(spots), pick)
        return plain[:start] + orjson.dumps(root if spots else _value(pick)) + plain[end:]
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # not JSON, or nested too deep to be written
        return _token_changed(plain, pick)


def _spots(root: Any) -> list[tuple[Any, Any]]:
    """(container, index or key) of every value within this one."""
    found: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting:
        value = waiting.pop()
        keys: Iterable[Any] = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        found += [(value, key) for key in keys]
        waiting += [value[key] for key in keys]
    return found


def _change(container: Any, key: Any, pick: random.Random) -> None:
    kind = pick.random()
    if kind < 0.1:
        del container[key]
    elif kind < 0.2 and isinstance(container, list):
        del container[key:]
    elif kind < 0.6:
        container[key] = _value_for(key, pick)
    elif isinstance(container, dict):
        new = pick.choice(_FIELDS[:9] if pick.random() < 0.9 else _FIELDS)
        container[new] = container[key] if kind < 0.65 else _value_for(new, pick)
    else:
        container.insert(key, container[key] if kind < 0.8 else {"name": _text(pick)})


def _anew(pick: random.Random, *, lines: bool) -> bytes:
    """A batch that is made of nothing else, or lines of events."""
    events = [
        {"name": _text(pick)} | {field: _value_for(field, pick) for field in _some_fields(pick)}
        for _ in range(pick.randrange(1, 5))
    ]
    if lines:
        return b"\n".join([orjson.dumps(event) for event in events])
    return orjson.dumps({"events": events} | ({"sent_at": _value_for("sent_at", pick)} if pick.random() < 0.2 else {}))


def _some_fields(pick: random.Random) -> list[str]:
    return pick.sample(_FIELDS[1:9], pick.randrange(5))


def _value_for(key: Any, pick: random.Random) -> Any:
    """What often fits this field; or anything."""
    if pick.random() < 0.1:
        return _value(pick)
    if key in {"time", "sent_at"}:
        return int(time.time() * 1000) + pick.randrange(-80 * 3_600_000, 3_600_000)
    if key in {"url", "referrer"}:
        return "https://" + _text(pick)
    if key == "id":
        return f"{pick.getrandbits(pick.choice((16, 64, 128))):08x}"
    if key == "props":
        return {_text(pick): _value(pick) for _ in range(pick.randrange(4))}
    return pick.choice(_NUMBERS) if key == "value" else _text(pick)


def _value(pick: random.Random) -> Any:
    kind = pick.random()
    if kind < 0.5:
        return _text(pick)
    if kind < 0.75:
        return pick.choice(_NUMBERS)
    return pick.choice((None, True, False, [], {}, [[]], {"name": "x"}, pick.getrandbits(53), pick.uniform(-1e9, 1e9)))


def _text(pick: random.Random) -> str:
    if pick.random() < 0.1:
        return pick.choice(_TEXTS)
    top = pick.choice((0x7F, 0x7F, 0x250, 0x3000, 0xD7FF))
    return "".join([chr(pick.randrange(0x20 if top > 0x7F else 0x2D, top)) for _ in range(pick.randrange(1, 20))])
