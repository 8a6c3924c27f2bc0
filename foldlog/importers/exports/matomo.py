"""Matomo's visits as JSON: what `Live.getLastVisitsDetails` answers with `format=JSON`.

The fields are those that `plugins/Live`, `plugins/Actions`, `plugins/Events` and
`plugins/Goals` of matomo-org/matomo give a visit and its actions. The address of a
visit is not looked at. An action is recognised by its visit, its `pageId` and its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from foldlog.importers.exports.cells import host_in, is_page, number_of, spelled
from foldlog.importers.exports.event import PAGE_VIEW, Hit, Row
from foldlog.importers.exports.limits import BrokenExport
from foldlog.importers.exports.visits import Found
from foldlog.importers.outcome import NOT_UNDERSTOOD, OTHER_KIND

VISITS, ACTIONS, EVENTS, GOALS = "visits", "actions", "events", "goals"
# What Matomo itself counts as an action of a visit.
_ACTIONS = ("action", "search", "download", "outlink")
_NAMES = {
    "action": PAGE_VIEW,
    "search": "search",
    "download": "download",
    "outlink": "outbound",
    "event": "",
    "goal": "goal",
    "ecommerceOrder": "order",
    "ecommerceAbandonedCart": "abandoned_cart",
}
# Of these `url` is the page; of downloads and outlinks it is what was asked for.
_ON_A_PAGE = ("action", "search", "event", "goal")
Visit = dict[str, Any]


def visit_of(found: Found, name: str) -> Visit | None:
    """A visit; None where the object is none. Raises BrokenExport for an answer that
    is an error of Matomo's.
    """
    try:
        visit = msgspec.json.decode(found.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(visit, dict):
        return None
    if visit.get("result") == "error":
        raise BrokenExport(f"{name} line {found.line} is an error that Matomo answered, and has no visits in it")
    return visit if isinstance(visit.get("actionDetails"), list) and _text(visit, "idVisit") else None


def rows(found: Found, visit: Visit | None) -> Iterator[Row]:
    """A row for each action of a visit."""
    if visit is None:
        yield Row(found.line, None, NOT_UNDERSTOOD, text="no visit with idVisit and actionDetails")
        return
    host = _host(visit)
    seen: dict[tuple[str, ...], int] = {}
    for place, action in enumerate(visit["actionDetails"]):
        text = f"visit {_text(visit, 'idVisit')[:20]}, action {place + 1}"
        if not isinstance(action, dict):
            yield Row(found.line, None, NOT_UNDERSTOOD, text=text)
            continue
        yield _row(found.line, visit, action, host, seen, text)


def said(visit: Visit) -> dict[str, int]:
    """What the visit itself says that it has."""
    counts = {}
    for kind, key in ((ACTIONS, "actions"), (EVENTS, "events"), (GOALS, "goalConversions")):
        text = _text(visit, key)
        counts[kind] = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    return counts


def _row(line: int, visit: Visit, action: Visit, host: str, seen: dict[tuple[str, ...], int], text: str) -> Row:
    type_ = _text(action, "type")
    kind = ACTIONS if type_ in _ACTIONS else {"event": EVENTS, "goal": GOALS}.get(type_, "others")
    if type_ not in _NAMES:
        return Row(line, None, OTHER_KIND, kind, f"{text}, type {type_[:20]}")
    key = ("matomo", *(_text(visit, each) for each in ("idSite", "idVisit", "visitorId")), type_)
    key += tuple(_text(action, each) for each in ("pageId", "goalPageId", "goalId", "orderId", "timestamp"))
    seen[key] = seen.get(key, 0) + 1
    hit = _hit((*key, str(seen[key])), visit, action, host)
    return Row(line, hit, 0, kind, text)


def _hit(key: tuple[str, ...], visit: Visit, action: Visit, host: str) -> Hit:
    type_, url = _text(action, "type"), _text(action, "url")
    is_here = type_ in _ON_A_PAGE and is_page(url)
    at = _text(action, "timestamp")
    is_first = action is visit["actionDetails"][0]
    return Hit(
        key=key,
        name=_NAMES[type_] or _text(action, "eventAction") or _text(action, "eventCategory"),
        time_ms=int(at) * 1000 if at.isascii() and at.isdecimal() and len(at) < 12 else None,
        visitor=_text(visit, "visitorId"),
        host=(host_in(url) if is_here else "") or host,
        session=f"{_text(visit, 'idSite')}-{_text(visit, 'idVisit')}",
        url=spelled(url) if is_here else "",
        referrer=_referrer(visit) if is_first else "",
        value=number_of(_text(action, "eventValue") or _text(action, "revenue")),
        props=_props(visit, action, is_first=is_first, url="" if is_here else url),
        language=_text(visit, "languageCode"),
        country=_text(visit, "countryCode"),
    )


def _props(visit: Visit, action: Visit, *, is_first: bool, url: str) -> dict[str, str]:
    is_campaign = is_first and _text(visit, "referrerType") == "campaign"
    return {
        "title": _text(action, "pageTitle"),
        "category": _text(action, "eventCategory"),
        "label": _text(action, "eventName"),
        "query": _text(action, "siteSearchKeyword"),
        "goal": _text(action, "goalName"),
        "order": _text(action, "orderId"),
        "url": spelled(url) if url else "",
        "campaign": _text(visit, "referrerName") if is_campaign else "",
        "browser": _text(visit, "browserName"),
        "os": _text(visit, "operatingSystemName"),
        "device": _text(visit, "deviceType"),
        "screen": _text(visit, "resolution"),
        "region": _text(visit, "regionCode"),
        "city": _text(visit, "city"),
    }


def _referrer(visit: Visit) -> str:
    url = _text(visit, "referrerUrl")
    return spelled(url) if is_page(url) else ""


def _host(visit: Visit) -> str:
    """The host of the first page of a visit."""
    pages = (each for each in visit["actionDetails"] if isinstance(each, dict) and _text(each, "type") == "action")
    return next(filter(None, (host_in(_text(each, "url")) for each in pages)), "")


def _text(of: Visit, key: str) -> str:
    """A value as text; empty where it is absent, null, or no text and no number."""
    value = of.get(key)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
