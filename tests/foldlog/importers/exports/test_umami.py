"""Umami's website_event: what becomes of a row, from its cloud and from a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldlog.importers.exports.limits import BrokenExport
from foldlog.importers.outcome import OTHER_HOST, OTHER_KIND, OTHER_WEBSITE
from tests.builders.access_logs import counted, events_of
from tests.builders.exports import UMAMI, import_exports, session, table, view, written_export, written_zip

FROM_POSTGRESQL = (
    *("event_id", "website_id", "session_id", "visit_id", "created_at", "url_path", "url_query", "referrer_path"),
    *("referrer_query", "referrer_domain", "page_title", "event_type", "event_name", "tag", "language", "country"),
)
ROWS = [
    view(1, url_query="utm_source=x", referrer_domain="search.example", referrer_path="/q"),
    view(2, event_type="2", event_name="signup"),
    view(3, visitor=2, hostname="www.example.com"),
    view(4, hostname="other.example"),
    view(5, event_type="5"),
]


def test_row_is_a_page_view_or_an_event(tmp_path: Path) -> None:
    members = {"website_event.csv": table(UMAMI, ROWS), "session_data.csv": "", "event_data.csv": ""}
    done = import_exports(tmp_path, written_zip(tmp_path / "export.zip", members))
    first, second, third = events_of(tmp_path)
    assert {key: first[key] for key in ("name", "time", "visitor", "session", "url", "referrer", "language")} == {
        "name": "pageview",
        "time": "2026-03-01T10:00:01.000Z",
        "visitor": session(1),
        "session": session(101),
        "url": "https://example.com/1?utm_source=x",
        "referrer": "https://search.example/q",
        "language": "de",
    }
    assert "daily" not in first
    assert (second["name"], second["url"]) == ("signup", "https://example.com/2")
    assert (third["site"], third["visitor"]) == ("example.com", session(2))
    assert {why: done.reasons[why].lines for why in done.reasons} == {OTHER_HOST: 1, OTHER_KIND: 1}
    assert not done.totals[0].is_equal


def test_partly_overlapping_exports_count_once_by_event_id(tmp_path: Path) -> None:
    rows = [view(n) for n in range(30)]
    for name, part in (("1.csv", rows[:20]), ("2.csv", rows[10:]), ("3.csv", rows[::-1])):
        assert import_exports(tmp_path, written_export(tmp_path / name, table(UMAMI, part))).totals[0].is_equal
    assert counted(tmp_path) == 30


def test_table_of_a_database_has_times_with_a_zone_and_no_hosts(tmp_path: Path) -> None:
    rows = [
        view(1, created_at="2026-03-01 10:00:00.25+00"),
        view(2, created_at="2026-03-01 12:00:00+02", page_title="\\N"),
        view(3, created_at="2026-03-01 11:00:00"),
        view(4, website_id=session(9)),
    ]
    file = written_export(tmp_path / "events.csv", table(FROM_POSTGRESQL, rows))
    done = import_exports(tmp_path, file, zone="Europe/Berlin")
    events = events_of(tmp_path)
    assert [event["time"][11:23] for event in events] == ["10:00:00.250", "10:00:00.000", "10:00:00.000"]
    assert {event["url"] for event in events} == {f"https://example.com/{n}" for n in (1, 2, 3)}
    assert "title" not in events[1].get("props", {})
    assert done.reasons[OTHER_WEBSITE].first == 5


def test_hosts_of_an_export_may_be_sites(tmp_path: Path) -> None:
    import_exports(tmp_path, written_export(tmp_path / "events.csv", table(UMAMI, ROWS)), other_hosts="keep")
    assert [event["site"] for event in events_of(tmp_path)] == [*["example.com"] * 3, "other.example"]


def test_missing_columns_are_named(tmp_path: Path) -> None:
    file = written_export(tmp_path / "events.csv", table(UMAMI, ROWS).replace(",", ";"))
    with pytest.raises(BrokenExport, match=r"line 1: .*missing: event_id"):
        import_exports(tmp_path, file, format_="umami")
