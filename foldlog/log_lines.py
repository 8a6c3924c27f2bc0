"""One log event as one line: JSON for programs, readable text for a terminal.

Pure. No value can make it raise, and control characters are always written as escapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson

from shared.control_chars import escape_control_chars, printable

Message = Mapping[str, object]
Encode = Callable[[Message], bytes]

_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_RESET = "\x1b[0m"


def make_message(component: str, level: str, event: str, fields: Message) -> Message:
    """The fields of a line, in order. None can replace event, level or timestamp."""
    when = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    return {"component": component, **fields, "event": event, "level": level, "timestamp": f"{when}Z"}


def encode_json(message: Message) -> bytes:
    """The message as a line of JSON. A value that JSON does not have becomes text."""
    try:
        encoded = orjson.dumps(message, default=str)
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, a key that is not text
        encoded = orjson.dumps({to_text(name): _encodable(value) for name, value in message.items()}, default=str)
    return escape_control_chars(encoded) + b"\n"


def encode_text(message: Message) -> bytes:
    """The message for a terminal: time, level, event, then the other fields."""
    shown = {name: printable(to_text(value)) for name, value in message.items()}
    when, level, event = (shown.pop(name) for name in ("timestamp", "level", "event"))
    fields = " ".join(f"{printable(to_text(name))}={value}" for name, value in shown.items())
    return f"{when} {_COLOURS.get(level, '')}[{level:7}]{_RESET} {event:24} {fields}\n".encode()


def to_text(value: object) -> str:
    """The value as text. Bytes that were not UTF-8, which Python keeps as lone
    surrogates, become escapes.
    """
    try:
        text = str(value)
    except Exception:  # noqa: BLE001  the value's own code raised, and a log call must not
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _encodable(value: object) -> object:
    try:
        orjson.dumps(value, default=str)
    except TypeError:
        return to_text(value)
    return value
