"""Umami's table `website_event` as CSV: that of its cloud's export, or one that was
written by the database of an own Umami.

The columns are those of `db/clickhouse/schema.sql` and `db/postgresql/schema.prisma` in
umami-software/umami, the kinds of events those of `src/lib/constants.ts` there. An
event is recognised by its `event_id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo

from foldlog.importers.exports.cells import time_ms, url_of
from foldlog.importers.exports.event import PAGE_VIEW, Hit, Row
from foldlog.importers.exports.records import Record, Table, is_utf8
from foldlog.importers.outcome import NOT_UNDERSTOOD, NOT_UTF8, OTHER_KIND, OTHER_WEBSITE

MEMBER = "website_event.csv"
NEEDED = ("event_id", "session_id", "created_at", "url_path", "event_type", "event_name")
_VIEW, _EVENT = "1", "2"
_KINDS = {_VIEW: "page views", _EVENT: "events"}
_NULL = "\\N"


def rows(table: Table, zone: ZoneInfo) -> Iterator[Row]:
    """The rows of an export; `zone` is that of times without one. Rows of another
    website than the first row's have to say their host.
    """
    website = None
    for record, values in table.rows():
        if values is None:
            yield Row(record.line, None, NOT_UNDERSTOOD, text=record.text or ",".join(record.values or ()))
            continue
        known = {name: "" if text == _NULL else text for name, text in values.items()}
        website = website or known.get("website_id", "")
        yield _row(record, known, zone, website)


def _row(record: Record, values: Mapping[str, str], zone: ZoneInfo, website: str) -> Row:
    kind = _KINDS.get(values["event_type"], "others")
    text = f"event {values['event_id'][:40]}"
    if not is_utf8(values.values()):
        return Row(record.line, None, NOT_UTF8, kind, text.encode("utf-8", "replace").decode())
    if values["event_type"] not in _KINDS:
        return Row(record.line, None, OTHER_KIND, kind, f"{text}, event_type {values['event_type'][:20]}")
    if not values["event_id"]:
        return Row(record.line, None, NOT_UNDERSTOOD, kind, "no event_id")
    if not values.get("hostname") and values.get("website_id", "") != website:
        return Row(record.line, None, OTHER_WEBSITE, kind, f"website_id {values['website_id'][:40]}")
    return Row(record.line, _hit(values, zone), 0, kind, text)


def _hit(values: Mapping[str, str], zone: ZoneInfo) -> Hit:
    domain = values.get("referrer_domain", "")
    host = values.get("hostname", "")
    return Hit(
        key=("umami", values["event_id"].lower()),
        name=values["event_name"] if values["event_type"] == _EVENT else PAGE_VIEW,
        time_ms=time_ms(values["created_at"], zone),
        visitor=values["session_id"],
        host=host,
        session=values.get("visit_id", ""),
        url=url_of(host, values["url_path"], values.get("url_query", "")) if host else "",
        path=_path(values),
        referrer=url_of(domain, values.get("referrer_path", ""), values.get("referrer_query", "")) if domain else "",
        props={
            "title": values.get("page_title", ""),
            "tag": values.get("tag", ""),
            **{name: values.get(name, "") for name in ("browser", "os", "device", "screen", "city")},
            "region": values.get("region", "") or values.get("subdivision1", ""),
        },
        language=values.get("language", ""),
        country=values.get("country", ""),
    )


def _path(values: Mapping[str, str]) -> str:
    query = values.get("url_query", "").removeprefix("?")
    return f"{values['url_path']}{'?' if query else ''}{query}"
