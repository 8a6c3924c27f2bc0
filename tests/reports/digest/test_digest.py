"""A digest says what its reports say, as a page and as a mail, and whatever clients
sent stands in it as text.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET  # of our own making
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from html.parser import HTMLParser
from typing import Any

import pytest

from reports.digest.chart import svg
from reports.digest.mail import AddressInvalid, mail, text
from reports.digest.notes import notes_of
from reports.digest.page import page
from reports.digest.questions import NUMBERS, TABLES, Digest, questions
from reports.query import parse
from reports.query_error import QueryError
from shared.annotations import Annotation

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[2J\u202egnp.exe",
    "'&amp;",
    "a\r\nBcc: x@y",
]
SPAN = {"from": "2026-11-23T00:00:00+00:00", "to": "2026-11-30T00:00:00+00:00", "tz": "UTC"}
ABOUT = {"generation": 3, "as_of": "2026-11-30T11:59:00.000Z"}


def digest(about: str = "shop.example", values: tuple[str | None, ...] = ("/", None), **total: Any) -> Digest:
    numbers = {name: 10.0 for name, _, _ in NUMBERS} | {"visitors": 1200, "events": 3000, "bounce_rate": 0.4, **total}
    before = dict.fromkeys(numbers, 8.0) | {"visitors": 1000}
    totals = {**SPAN, **ABOUT, "interval": "none", "compare": "previous", "total": {**numbers, "previous": before}}
    times = [f"2026-11-{day}T00:00:00+00:00" for day in range(23, 30)]
    bars = [{"time": time, "visitors": 10 * n, "previous": {"visitors": 5}} for n, time in enumerate(times)]
    bars[3]["visitors"] = None
    chart = {**SPAN, **ABOUT, "interval": "day", "rows": bars}
    rows = [{"value": value, "visitors": 7, "events": 12_345} for value in values]
    return Digest(about, totals, chart, tuple({**SPAN, "rows": rows} for _ in TABLES))


class Seen(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_has_the_numbers_their_change_and_the_tables() -> None:
    seen = Seen(page(digest()))
    words = " ".join(seen.text.split())
    assert "shop.example 2026-11-23 to 2026-11-29" in words
    assert "1,200" in words and "1,000" in words and "+20%" in words and "40.0%" in words
    assert all(name in words for _, name in TABLES)
    assert "12,345" in words and "(none)" in words


def annotated(*kept: Annotation, site: str | None = None) -> Digest:
    return replace(digest(), notes=notes_of(digest().chart, kept, site))


def test_notes_of_the_time_are_marked_and_told() -> None:
    kept = (
        Annotation("2026-11-24", "Deploy 2.1"),
        Annotation("2026-11-29T23:59:59Z", "the last second"),
        Annotation("2026-11-22", "the day before"),
        Annotation("2026-11-30", "the day after"),
        Annotation("2026-11-30T00:00:00Z", "the second after"),
        Annotation("2026-11-25", "of another", "other.example"),
    )
    notes = notes_of(digest().chart, kept, "shop.example")
    assert notes == ((1, "2026-11-24", "Deploy 2.1"), (6, "2026-11-29 23:59", "the last second"))
    assert [note.text for note in notes_of(digest().chart, kept, None)][1] == "of another"
    shown = annotated(*kept, site="shop.example")
    words = " ".join(Seen(page(shown)).text.split())
    assert "2026-11-24 Deploy 2.1" in words and "the day" not in words and "of another" not in words
    assert page(shown).count('stroke-dasharray="2 3"') == 2
    assert "2026-11-24  Deploy 2.1" in text(shown)
    assert "Notes" not in text(digest()) and "<ul" not in page(digest())


def test_note_of_a_date_is_of_that_date_in_the_zone_of_the_chart() -> None:
    times = [f"2026-11-{day}T00:00:00+13:00" for day in (23, 24)]
    chart = {"rows": [{"time": time} for time in times], "to": "2026-11-25T00:00:00+13:00"}
    kept = (Annotation("2026-11-24", "a"), Annotation("2026-11-23T12:00:00Z", "b"))
    assert [(note.bar, note.at) for note in notes_of(chart, kept, None)] == [(1, "2026-11-24"), (1, "2026-11-24 01:00")]


@pytest.mark.parametrize("hostile", HOSTILE[:2] + HOSTILE[3:4])
def test_note_is_text(hostile: str) -> None:
    shown = annotated(Annotation("2026-11-24", hostile))
    assert hostile in Seen(page(shown)).text
    ET.fromstring(svg(shown.chart, "visitors", shown.notes))  # noqa: S314 - of our own making


def test_what_cannot_be_known_is_a_dash_and_says_why() -> None:
    shown = digest(visits=None)
    shown.totals["reason"] = "the archive is gone"  # type: ignore[index]
    assert "\N{EN DASH}" in page(shown) and "the archive is gone" in page(shown)
    assert "\N{EN DASH}" in text(shown) and "the archive is gone" in text(shown)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_text(hostile: str) -> None:
    shown = digest(hostile, (hostile,))
    usual, seen = Seen(page(digest())), Seen(page(shown))
    assert [tag for tag in seen.tags if tag not in usual.tags] == []
    for written in (page(shown), text(shown)):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", written)
    message = message_from_bytes(mail(shown, "team@example.com"), policy=policy.default)
    assert message["Bcc"] is None
    assert message["To"] == "team@example.com"


def test_chart_has_a_bar_for_each_known_number_and_the_time_before() -> None:
    (found,) = re.findall("<svg.*</svg>", page(digest()), re.DOTALL)
    svg = ET.fromstring(found)  # noqa: S314
    name = "{http://www.w3.org/2000/svg}"
    heights = [float(bar.attrib["height"]) for bar in svg.iter(f"{name}rect")]
    assert len(heights) == 6  # of seven days, one is not known
    assert heights[-1] == pytest.approx(6 * heights[1], rel=0.01)
    assert len(list(svg.iter(f"{name}polyline"))) == 1


def test_mail_is_text_page_and_chart() -> None:
    message = message_from_bytes(mail(digest(), "team@example.com"), policy=policy.default)
    assert message["Subject"] == "shop.example, 2026-11-23 to 2026-11-29"
    kinds = [part.get_content_type() for part in message.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "image/svg+xml"]
    plain = message.get_body(("plain",))
    assert plain is not None and "Visitors" in plain.get_content() and "1,200  +20%" in plain.get_content()


@pytest.mark.parametrize("address", ["", "a", "a@b@c", "a@b, c@d", "a@b\r\nBcc: x@y", "<a@b>", "a b@c"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AddressInvalid, match="give one address"):
        mail(digest(), address)


def test_no_events_are_a_page_too() -> None:
    empty = digest(values=())
    assert page(empty).count("Nothing in this time") == len(TABLES)
    nothing = Digest("All sites", empty.totals, {**empty.chart, "rows": []}, empty.tables)
    assert "<svg" in page(nothing)


@pytest.mark.parametrize(("span", "interval"), [(("27", "27"), "hour"), (("01", "29"), "day")])
def test_chart_is_by_hour_or_day(span: tuple[str, str], interval: str) -> None:
    asked = {"from": f"2026-11-{span[0]}", "to": f"2026-11-{span[1]}", "site": "a.example"}
    totals, chart, *tables = questions(asked, parse(asked, NOW, "UTC"))
    assert (chart["interval"], totals["compare"], chart["site"]) == (interval, "previous", "a.example")
    assert [table["by"] for table in tables] == [by for by, _ in TABLES]


def test_it_takes_no_parameter_that_it_would_not_follow() -> None:
    asked = {"by": "path"}
    with pytest.raises(QueryError, match="by: a page or a mail takes only"):
        questions(asked, parse(asked, NOW, "UTC"))
