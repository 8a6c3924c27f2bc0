"""Events as a client writes them: good ones, and bad ones with code and field."""

from __future__ import annotations

import json
from typing import Any

from ingest.collect.event import EVENT_MAX_BYTES
from shared.timestamps import epoch_ms

RECEIVED_MS = epoch_ms("2026-11-22T16:00:00Z")
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def event(**fields: object) -> str:
    return json.dumps({"name": "pageview"} | fields)


REJECTED = {
    "unknown field": (event(naem="x"), "unknown_field", "naem"),
    "unknown field in another case": (event(Url="https://example.com/"), "unknown_field", "Url"),
    "unknown field that is crc": (event(crc="00000000"), "unknown_field", "crc"),
    "name missing": ("{}", "name_missing", "name"),
    "name of 121 characters": (event(name="x" * 121), "name_too_long", "name"),
    "name empty": (event(name=""), "name_too_short", "name"),
    "name a number": (event(name=5), "name_type", "name"),
    "name null": (event(name=None), "name_type", "name"),
    "name with NUL": (event(name="a\0b"), "name_invalid", "name"),
    "name with a newline": (event(name="a\nb"), "name_invalid", "name"),
    "name with ESC": (event(name="a\x1b[2J"), "name_invalid", "name"),
    "name with DEL": (event(name="a\x7f"), "name_invalid", "name"),
    "name with C1": (event(name="a\x9b2J"), "name_invalid", "name"),
    "name with a bidi override": (event(name="a\u202eb"), "name_invalid", "name"),
    "name with a bidi isolate": (event(name="a\u2066b"), "name_invalid", "name"),
    "name with a line separator": (event(name="a\u2028b"), "name_invalid", "name"),
    "id of 7 characters": (event(id="1234567"), "id_too_short", "id"),
    "id empty": (event(id=""), "id_too_short", "id"),
    "id of 65 characters": (event(id="x" * 65), "id_too_long", "id"),
    "id a number": (event(id=12345678), "id_type", "id"),
    "id with a space": (event(id="1234 5678"), "id_invalid", "id"),
    "id with an umlaut": (event(id="ünïcödé8"), "id_invalid", "id"),
    "id with a newline": (event(id="1234567\n"), "id_invalid", "id"),
    "time without a zone": (event(time="2026-11-22T15:00:00"), "time_invalid", "time"),
    "time a date": (event(time="2026-11-22"), "time_invalid", "time"),
    "time a word": (event(time="abc"), "time_invalid", "time"),
    "time a leap second": (event(time="2026-11-22T15:59:60Z"), "time_invalid", "time"),
    "time a fraction": (event(time=1.5), "time_type", "time"),
    "time a boolean": (event(time=True), "time_type", "time"),
    "time negative": (event(time=-1), "time_out_of_range", "time"),
    "time after 9999": (event(time=253_402_300_800_000), "time_out_of_range", "time"),
    "time of 30 digits": (event(time=10**30), "time_out_of_range", "time"),
    "time the epoch": (event(time=0), "too_old", "time"),
    "time in year 1": (event(time="0001-01-01T00:00:00+14:00"), "too_old", "time"),
    "time 40 days ago": (event(time=RECEIVED_MS - 40 * 24 * HOUR_MS), "too_old", "time"),
    "visitor empty": (event(visitor=""), "visitor_too_short", "visitor"),
    "visitor of 101 characters": (event(visitor="x" * 101), "visitor_too_long", "visitor"),
    "visitor a number": (event(visitor=5), "visitor_type", "visitor"),
    "visitor with ESC": (event(visitor="a\x1bb"), "visitor_invalid", "visitor"),
    "visitor null as text": (event(visitor="null"), "visitor_junk", "visitor"),
    "visitor NULL": (event(visitor="NULL"), "visitor_junk", "visitor"),
    "visitor undefined": (event(visitor="undefined"), "visitor_junk", "visitor"),
    "visitor anonymous": (event(visitor="anonymous"), "visitor_junk", "visitor"),
    "visitor [object Object]": (event(visitor="[object Object]"), "visitor_junk", "visitor"),
    "visitor all zeros": (event(visitor="00000000-0000-0000-0000-000000000000"), "visitor_junk", "visitor"),
    "visitor blank": (event(visitor="  "), "visitor_junk", "visitor"),
    "url empty": (event(url=""), "url_too_short", "url"),
    "url of 2001 characters": (event(url="https://e.example/".ljust(2001, "x")), "url_too_long", "url"),
    "url a number": (event(url=5), "url_type", "url"),
    "url javascript": (event(url="javascript:alert(1)"), "url_invalid", "url"),
    "url without a host": (event(url="/path"), "url_invalid", "url"),
    "url with ESC": (event(url="https://e.example/\x1b"), "url_invalid", "url"),
    "value as text": (event(value="1"), "value_type", "value"),
    "value a boolean": (event(value=True), "value_type", "value"),
    "value an array": (event(value=[1]), "value_type", "value"),
    "value beyond a float": ('{"name":"x","value":1e400}', "value_out_of_range", "value"),
    "value of 2^53": (event(value=2**53), "value_out_of_range", "value"),
    "value of -2^53": (event(value=-(2**53)), "value_out_of_range", "value"),
    "value of 5000 digits": ('{"name":"x","value":%s}' % ("9" * 5000), "value_out_of_range", "value"),
    "props an array": (event(props=[1]), "props_type", "props"),
    "props nested object": (event(props={"a": {"b": 1}}), "props_type", "props"),
    "props nested array": (event(props={"a": [1]}), "props_type", "props"),
    "props of 31 keys": (event(props={f"k{n}": n for n in range(31)}), "props_too_long", "props"),
    "props with a key of 101 characters": (event(props={"k" * 101: 1}), "props_too_long", "props"),
    "props with an empty key": (event(props={"": 1}), "props_too_short", "props"),
    "props with a value of 2001 characters": (event(props={"k": "v" * 2001}), "props_too_long", "props"),
    "props with an integer of 5000 digits": (
        '{"name":"x","props":{"a":%s}}' % ("9" * 5000),
        "props_out_of_range",
        "props",
    ),
    "event an array": ("[]", "event_type", None),
    "event a text": ('"pageview"', "event_type", None),
    "event null": ("null", "event_type", None),
    "event of more than 32 KiB": (event(props={"k": "v" * EVENT_MAX_BYTES}), "event_too_large", None),
}


ACCEPTED: dict[str, dict[str, Any]] = {
    "nothing but a name": {},
    "name of 120 characters": {"name": "x" * 120},
    "name of 120 emoji": {"name": "😀" * 120},
    "name with a no-break space": {"name": "a\u00a0b"},
    "name that is a path": {"name": "../../etc/passwd"},
    "name that is a device": {"name": "CON"},
    "name that is a script": {"name": "<script>alert(1)</script>"},
    "id of 8 characters": {"id": "aZ09_-aZ"},
    "id of 64 characters": {"id": "x" * 64},
    "null means absent": dict.fromkeys(("id", "time", "visitor", "session", "url", "referrer", "value", "props")),
    "visitor of 100 characters": {"visitor": "x" * 100},
    "visitor that holds a placeholder": {"visitor": "null-island"},
    "url of 2000 characters": {"url": "https://e.example/".ljust(2000, "x")},
    "url with its scheme in upper case": {"url": "HTTP://E.EXAMPLE/"},
    "value zero": {"value": 0},
    "value negative": {"value": -1.5},
    "value huge": {"value": 1e308},
    "value of 2^53 - 1": {"value": 2**53 - 1},
    "props empty": {"props": {}},
    "props of 30 keys": {"props": {f"k{n}": n for n in range(30)}},
    "props with a key of 100 characters": {"props": {"k" * 100: 1}},
    "props with a value of 2000 characters": {"props": {"k": "v" * 2000}},
    "props of all kinds": {"props": {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None, "f": ""}},
    "props with names from JavaScript": {"props": {"crc": "x", "__proto__": "y", "constructor": "z"}},
    "props with control characters": {"props": {"k\x1b": "v\u202e\x9b"}},
}
