"""GoatCounter's CSV export: a row is a page view or an event.

The columns are those of `tpl/help/export.md` in arp242/goatcounter, versions 1 and 2 of
the format. Rows have no id: one is recognised by what does not change between exports
(path, session, referrer, time) and by how often the same stood before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from foldlog.importers.exports.cells import spelled, time_ms
from foldlog.importers.exports.event import PAGE_VIEW, Hit, Row
from foldlog.importers.exports.limits import BrokenExport
from foldlog.importers.exports.records import Record, Table, is_utf8
from foldlog.importers.outcome import BOT, NOT_UNDERSTOOD, NOT_UTF8

VERSIONS = ("1", "2")
NEEDED = ("Path", "Event", "Bot", "Session", "Referrer", "Referrer scheme", "FirstVisit", "Date")
FIRST_VISITS = "first visits"
_YES, _NO = ("true", "1"), ("false", "0")
_APP = "android-app://"


def rows(table: Table) -> Iterator[Row]:
    """The rows of an export. A time without its zone is one that was cut off."""
    for record, values in table.rows():
        yield _row(record, values)


def check_version(table: Table, name: str) -> None:
    """Take the version of the format off the first column. Raises BrokenExport for one
    that is not known.
    """
    first = table.header[0].lstrip("0123456789,")
    version = table.header[0].removesuffix(first).rstrip(",")
    if version not in VERSIONS:
        raise BrokenExport(
            f"{name} line 1: version {version[:10] or 'none'} of GoatCounter's export is not known; "
            f"{' and '.join(VERSIONS)} are"
        )
    table.header[0] = first


def _row(record: Record, values: Mapping[str, str] | None) -> Row:
    if values is None or values["Event"] not in _YES + _NO or not values["Bot"].isdecimal():
        return Row(record.line, None, NOT_UNDERSTOOD, text=record.text or ",".join(record.values or ()))
    is_event = values["Event"] in _YES
    kind = "events" if is_event else "page views"
    text = values["Path"]
    if not is_utf8(values.values()):
        return Row(record.line, None, NOT_UTF8, kind, text.encode("utf-8", "replace").decode())
    if values["Bot"].strip("0"):
        return Row(record.line, None, BOT, kind, text)
    also = FIRST_VISITS if values["FirstVisit"] in _YES else ""
    return Row(record.line, _hit(values, is_event=is_event), 0, kind, text, also)


def _hit(values: Mapping[str, str], *, is_event: bool) -> Hit:
    at = time_ms(values["Date"], None)
    referrer, scheme = values["Referrer"], values["Referrer scheme"]
    page = referrer_url(referrer, scheme)
    country, _, region = values.get("Location", "").partition("-")
    agent = values.get("UserAgent") or values.get("User-Agent") or ("" if "System" in values else values["Browser"])
    return Hit(
        key=("goatcounter", values["Path"], str(is_event), values["Session"], referrer, scheme, str(at)),
        name=values["Path"] if is_event else PAGE_VIEW,
        time_ms=at,
        visitor=values["Session"],
        daily=True,
        path="" if is_event else values["Path"],
        referrer=page,
        props={
            "title": values.get("Title", ""),
            "referrer": "" if page else referrer,
            "browser": values["Browser"] if "System" in values else "",
            "os": values.get("System", ""),
            "screen": values.get("Screen size", ""),
            "region": region,
        },
        agent=agent,
        country=country,
    )


def referrer_url(referrer: str, scheme: str) -> str:
    """The page or app that a visitor came from; empty for the name of a tool or
    campaign.
    """
    if referrer.startswith(_APP):
        return spelled(referrer)
    return spelled(f"https://{referrer}") if scheme == "h" and referrer else ""
