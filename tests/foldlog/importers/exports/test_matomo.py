"""Matomo's visits as JSON: what becomes of an action, and what the visits themselves
say.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foldlog.importers.exports.limits import BrokenExport
from foldlog.importers.outcome import NO_VISITOR, NOT_UNDERSTOOD, OTHER_KIND, summary
from tests.builders.access_logs import counted, events_of
from tests.builders.exports import action, import_exports, visit, written_export

VISITS = [
    visit(
        1,
        [
            action(1),
            action(2, "event", eventCategory="Video", eventAction="Play", eventName="Intro", eventValue="2.5"),
            action(3, "download", url="https://files.example/a.pdf"),
            action(4, "outlink", url="https://other.example/"),
            action(5, "search", url=None, siteSearchKeyword="shoes"),
            action(6, "goal", goalName="Sold", goalId="1", revenue="10", pageId=None),
            action(7, "ecommerceOrder", url=None, orderId="A1", revenue=99.5, pageId=None),
            action(8, "content"),
        ],
        actions="4",
        events="1",
        goalConversions=1,
    ),
    visit(2, [action(20), action(20), action(21)], referrerType="campaign", referrerName="spring"),
]


def test_action_is_a_page_view_or_an_event(tmp_path: Path) -> None:
    done = import_exports(tmp_path, written_export(tmp_path / "visits.json", VISITS))
    events = events_of(tmp_path)
    assert [event["name"] for event in events[:7]] == [
        *("pageview", "Play", "download", "outbound", "search", "goal", "order"),
    ]
    first, played, file, link, search, goal, order = events[:7]
    assert {key: first[key] for key in ("time", "visitor", "session", "url", "referrer", "language", "country")} == {
        "time": "2026-03-01T10:00:01.000Z",
        "visitor": f"{1:016x}",
        "session": "1-1",
        "url": "http://example.com/page/1",
        "referrer": "https://search.example/?q=x",
        "language": "de",
        "country": "DE",
    }
    assert (played["value"], played["props"]["category"], played["props"]["label"]) == (2.5, "Video", "Intro")
    assert (file["site"], file["props"]["url"]) == ("example.com", "https://files.example/a.pdf")
    assert "url" not in link and search["props"]["query"] == "shoes"
    assert (goal["value"], goal["props"]["goal"], order["value"], order["props"]["order"]) == (10, "Sold", 99.5, "A1")
    assert [event.get("referrer") for event in events[1:7]] == [None] * 6
    assert (events[7]["props"]["campaign"], "campaign" in events[8]["props"]) == ("spring", False)
    assert done.reasons[OTHER_KIND].lines == 1
    assert "203.0.113.9" not in json.dumps(events)


def test_totals_of_the_visits_are_compared(tmp_path: Path) -> None:
    file = written_export(tmp_path / "visits.json", VISITS[1:])
    assert summary(import_exports(tmp_path, file)) == [
        "3 lines: 3 events appended, 0 rejected",
        f"{file}: Matomo's rows: 3 actions, 1 visits",
        "  its own totals: 3 actions, 0 events, 0 goals",
        "  appended: 3 actions: equal",
    ]
    cut = [visit(3, [action(30)], actions="500")]
    text = summary(import_exports(tmp_path, written_export(tmp_path / "cut.json", cut)))
    assert text[-2:] == ["  its own totals: 500 actions, 0 events, 0 goals", "  appended: 1 actions: unequal"]


def test_pages_of_answers_and_repeats_count_once(tmp_path: Path) -> None:
    one, two = json.dumps(VISITS), "\n".join(json.dumps(each, indent=1) for each in VISITS)
    written_export(tmp_path / "1.json", one)
    written_export(tmp_path / "2.json", f"\ufeff{two}\n{one}")
    for name in ("1.json", "2.json", "1.json"):
        import_exports(tmp_path, tmp_path / name)
    assert counted(tmp_path) == 10


def test_what_is_no_visit_is_counted_and_costs_no_other(tmp_path: Path) -> None:
    odd = [{"idVisit": 1}, visit(5, [action(1)], visitorId=False), visit(6, ["x", action(2, timestamp="x"), action(3)])]
    done = import_exports(tmp_path, written_export(tmp_path / "visits.json", [*odd, VISITS[1]]))
    assert (done.events, done.reasons[NOT_UNDERSTOOD].lines, done.reasons[NO_VISITOR].lines) == (4, 3, 1)


@pytest.mark.parametrize("content", ['{"result":"error","message":"token"}', '[{"idVisit":1', "nothing", "[1, 2]"])
def test_answer_that_has_no_visits_is_refused_with_the_line(content: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenExport, match=r"visits\.json line 1"):
        import_exports(tmp_path, written_export(tmp_path / "visits.json", content), format_="matomo")
