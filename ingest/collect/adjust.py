"""What only decorates an event never costs it: a referrer or a session that is not
valid is left out, a query that is too long is cut. The answer lists it as `adjusted`.

`adjust_text` comes before an event is decoded, for what the types of event.py refuse;
`adjust_event` after it, for the rules of validate.py. The first sees only events that
would be rejected otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from ingest.collect.event import SESSION_MAX, URL_MAX, Event
from ingest.collect.identity import identity_error, is_harmless

_HTTP = ("http://", "https://")
# What mobile systems give for a page that an app opened: android-app://<package>/….
_APP = re.compile(r"(?:android|ios)-app://[^/?#\s]", re.IGNORECASE)
# Scheme, and host with port; a user and a password before it are no part of an origin.
_ORIGIN = re.compile(
    r"(https?://|(?:android|ios)-app://)(?:[^/?#\s@]{0,300}@)?([^/?#\s@]{1,300})(?=[/?#])", re.IGNORECASE
)
_NO_PROPS = re.compile(rb"\[\s*\]")
_LOW_ALONE = re.compile(rb"(?<!\\u[dD][89aAbB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HIGH_ALONE = re.compile(rb"\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What was left out of an accepted event, or cut."""

    index: int
    field: str
    code: str


Change = tuple[str, str]  # field, code
# The other fields are not decoded: whatever is in them may cost many times its bytes.
_ADJUSTED = ("referrer", "session", "url", "time")
_WHOLE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_REFERRER = ("referrer", "referrer_left_out")
_REFERRER_CUT = ("referrer", "referrer_cut")
_NO_SESSION = ("session", "session_left_out")
_URL_CUT = ("url", "url_cut")


def adjust_text(raw: bytes) -> tuple[bytes, list[Change]]:
    """An event that did not decode, without what only decorates it and does not fit;
    the same bytes where that is not why.
    """
    try:
        whole = _WHOLE.decode(raw)
        fields = {name: msgspec.json.decode(whole[name]) for name in _ADJUSTED if name in whole}
        changes = [change for fit in (_fit_referrer, _fit_session, _fit_url) if (change := fit(fields))]
        silent = [_fit_time(fields), _fit_props(whole)]
        return (msgspec.json.encode(whole | fields) if changes or any(silent) else raw), changes
    except (msgspec.MsgspecError, OverflowError, RecursionError):  # no object, or what no decoder takes
        return raw, []


def _fit_referrer(fields: dict[str, Any]) -> Change | None:
    referrer = fields.get("referrer")
    if referrer is None or (isinstance(referrer, str) and 0 < len(referrer) <= URL_MAX):
        return None
    found = _ORIGIN.match(referrer) if isinstance(referrer, str) else None
    origin = f"{found[1]}{found[2]}/" if found else ""
    fields["referrer"] = origin if is_referrer(origin) else None
    return _REFERRER_CUT if fields["referrer"] else _NO_REFERRER


def _fit_session(fields: dict[str, Any]) -> Change | None:
    session = fields.get("session")
    if session is None or (isinstance(session, str) and 0 < len(session) <= SESSION_MAX):
        return None
    fields["session"] = None
    return _NO_SESSION


def _fit_url(fields: dict[str, Any]) -> Change | None:
    """Whole parameters are kept. A path that is too long stays, and is an error."""
    url = fields.get("url")
    if not isinstance(url, str) or len(url) <= URL_MAX:
        return None
    page = url.partition("#")[0]
    place, _, query = page.partition("?")
    if len(place) > URL_MAX:
        return None
    if len(page) > URL_MAX:
        kept = query[: URL_MAX - len(place)].rpartition("&")[0]
        page = f"{place}?{kept}" if kept else place
    fields["url"] = page
    return _URL_CUT


def _fit_time(fields: dict[str, Any]) -> bool:
    """1795960353442.0 is a whole number: JSON has one kind of number."""
    time = fields.get("time")
    if not (isinstance(time, float) and time.is_integer()):
        return False
    fields["time"] = int(time)
    return True


def _fit_props(whole: dict[str, msgspec.Raw]) -> bool:
    """PHP writes `[]` for an array without keys."""
    if _NO_PROPS.fullmatch(bytes(whole.get("props", b""))) is None:
        return False
    whole["props"] = msgspec.Raw(b"null")
    return True


def adjust_event(event: Event) -> list[Change]:
    """Leave out of a decoded event what only decorates it and is not valid."""
    changes = []
    if event.session is not None and identity_error("session", event.session):
        event.session = None
        changes.append(_NO_SESSION)
    found = event.referrer
    if found is not None and not (found.startswith(_HTTP) and found.isprintable()) and not is_referrer(found):
        event.referrer = None
        changes.append(_NO_REFERRER)
    return changes


def is_referrer(text: str) -> bool:
    """Whether it names a page, or an app."""
    return (text.lower().startswith(_HTTP) or _APP.match(text) is not None) and is_harmless(text)


def with_whole_characters(text: bytes) -> bytes:
    """JSON with U+FFFD for each half of a character that stands alone: JavaScript cuts
    texts between the halves, and no decoder takes one.
    """
    if b"\\u" not in text:
        return text
    escapes = text.replace(rb"\\", rb"\u005c")  # of a backslash; any other is the beginning of an escape
    whole = _HIGH_ALONE.sub(rb"\\ufffd", _LOW_ALONE.sub(rb"\\ufffd", escapes))
    return whole.replace(rb"\u005c", rb"\\")
