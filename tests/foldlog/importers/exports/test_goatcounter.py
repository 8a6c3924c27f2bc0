"""GoatCounter's CSV: what becomes of a row, in both versions of the format."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from foldlog.importers.exports.limits import BrokenExport
from foldlog.importers.outcome import BOT, NO_VISITOR, NOT_UNDERSTOOD, summary
from shared.settings import SettingsError
from tests.builders.access_logs import UA, counted, events_of
from tests.builders.exports import GOATCOUNTER_1, GOATCOUNTER_2, hit, import_exports, session, table, written_export

ROWS = [
    hit("/", 1, 0, FirstVisit="true", Referrer="news.example/item?id=1", **{"Referrer scheme": "h"}),
    hit("/café", 1, 1, Referrer="Hacker News", **{"Referrer scheme": "g"}),
    hit("click-banana", second=2, Event="true"),
    hit("/", 2, 3, FirstVisit="true", Referrer="android-app://com.example/", **{"Referrer scheme": "o"}),
    hit("/", 3, 4, Bot="3"),
    hit("/", 4, 5, Session="00000000-0000-0000-0000-000000000000"),
]


def test_row_is_a_page_view_or_an_event(tmp_path: Path) -> None:
    file = written_export(tmp_path / "hits.csv", table(GOATCOUNTER_2, ROWS))
    done = import_exports(tmp_path, file)
    first, second, third, fourth = events_of(tmp_path)
    assert {key: first[key] for key in ("name", "time", "visitor", "daily", "url", "referrer", "country", "site")} == {
        "name": "pageview",
        "time": "2026-03-01T10:00:00.000Z",
        "visitor": session(1),
        "daily": True,
        "url": "https://example.com/",
        "referrer": "https://news.example/item?id=1",
        "country": "DE",
        "site": "example.com",
    }
    assert first["props"] == {
        "title": "Title of /",
        "browser": "Firefox 145",
        "os": "Linux",
        "screen": "1440,900,1",
        "region": "BE",
    }
    assert (second["url"], second["props"]["referrer"]) == ("https://example.com/caf%C3%A9", "Hacker News")
    assert (third["name"], third.get("url")) == ("click-banana", None)
    assert fourth["referrer"] == "android-app://com.example/"
    assert (first["consent"], first["sender"]) == ("imported", "import")
    assert {why: done.reasons[why].first for why in done.reasons} == {BOT: 6, NO_VISITOR: 7}


def test_summary_compares_what_was_read_with_what_was_imported(tmp_path: Path) -> None:
    file = written_export(tmp_path / "hits.csv", table(GOATCOUNTER_2, ROWS))
    text = summary(import_exports(tmp_path, file))
    assert text == [
        "6 lines: 4 events appended, 0 rejected, 2 left out",
        f"  1 bots, first {file} line 6: /",
        f"  1 without a visitor, first {file} line 7: /",
        f"{file}: GoatCounter's rows: 1 events, 2 first visits, 5 page views",
        "  appended: 1 events, 3 page views: unequal",
    ]
    text = summary(import_exports(tmp_path, written_export(tmp_path / "b.csv", table(GOATCOUNTER_2, ROWS[:3]))))
    assert text[-1] == "  appended: 1 events, 2 page views: equal"


def test_both_versions_of_the_format_are_the_same_rows(tmp_path: Path) -> None:
    rows = [{**row, "Browser": UA} for row in ROWS[:4]]
    import_exports(tmp_path, written_export(tmp_path / "1.csv", table(GOATCOUNTER_1, rows)))
    assert {event["ua"] for event in events_of(tmp_path)} == {UA}
    import_exports(tmp_path, written_export(tmp_path / "2.csv.gz", gzip.compress(table(GOATCOUNTER_2, ROWS).encode())))
    assert (counted(tmp_path), len(events_of(tmp_path))) == (4, 8)


def test_equal_rows_are_told_apart_by_how_often_they_stand_there(tmp_path: Path) -> None:
    rows = [hit(), hit(), hit(second=1), hit()]
    file = written_export(tmp_path / "hits.csv", table(GOATCOUNTER_2, rows))
    import_exports(tmp_path, file)
    import_exports(tmp_path, file)
    assert counted(tmp_path) == 4


def test_later_export_counts_once_although_titles_changed(tmp_path: Path) -> None:
    rows = [hit(f"/{n}", second=n) for n in range(10)]
    import_exports(tmp_path, written_export(tmp_path / "1.csv", table(GOATCOUNTER_2, rows[:6])))
    later = [{**row, "Title": "New"} for row in rows[4:]]
    import_exports(tmp_path, written_export(tmp_path / "2.csv", table(GOATCOUNTER_2, later)))
    assert counted(tmp_path) == 10


@pytest.mark.parametrize("header", ["3Path,Title", "Path,Title,Event", ",".join(GOATCOUNTER_2[:5])])
def test_other_version_or_columns_are_refused_with_the_line(header: str, tmp_path: Path) -> None:
    file = written_export(tmp_path / "hits.csv", f"{header}\n")
    with pytest.raises(BrokenExport, match=r"hits\.csv line 1: "):
        import_exports(tmp_path, file, format_="goatcounter")


def test_row_that_is_none_does_not_cost_its_neighbours(tmp_path: Path) -> None:
    text = table(GOATCOUNTER_2, [hit(), hit("/b", Event="perhaps"), hit("/c", Date="yesterday"), hit("/d")])
    cut = table(GOATCOUNTER_2, [hit("/e", Date="2026-03-01T10:00:00+02:00")]).splitlines()[1].removesuffix("+02:00")
    done = import_exports(tmp_path, written_export(tmp_path / "hits.csv", f"{text}too,few\n{cut}"))
    assert (done.events, done.reasons[NOT_UNDERSTOOD].lines, done.reasons[NOT_UNDERSTOOD].first) == (2, 4, 3)


def test_site_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--site"):
        import_exports(tmp_path, written_export(tmp_path / "hits.csv", table(GOATCOUNTER_2, ROWS)), site=None)
