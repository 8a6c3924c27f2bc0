"""Dimensions that are computed when they are asked for: each value stands in a table
here, and rows by it equal a recount over that table.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reports.dimensions import COMPUTED, STORED
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.logs import FIREFOX, NOON, data_directory, fold, line, sealed

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
EDGE = f"{CHROME} Edg/131.0.0.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.2 Mobile/15E148 Safari/604.1"
)
PIXEL = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Mobile Safari/537.36"
)
MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Safari/605.1.15"
)
PAGE = "https://example.com/a"

# Dimension; fields of an event; its value.
VALUES: list[tuple[str, dict[str, Any], str | None]] = [
    ("hostname", {"url": PAGE}, "example.com"),
    ("hostname", {"url": "HTTPS://WWW.Example.com:8443?x=@y"}, "www.example.com"),
    ("hostname", {"url": "http://user:pass@shop.example.com/@b"}, "shop.example.com"),
    ("hostname", {"url": "http://[::1]:8080/"}, "[::1]"),
    ("hostname", {}, None),
    ("utm_term", {"url": f"{PAGE}?utm_term=red+shoes%21"}, "red shoes!"),
    ("utm_term", {"url": f"{PAGE}?a=1&UTM_TERM=x&utm_term=y"}, "x"),
    ("utm_term", {"url": f"{PAGE}?utm_term=&amp;utm_term=z"}, "z"),
    ("utm_term", {"url": f"{PAGE}#?utm_term=fragment"}, None),
    ("utm_term", {"url": f"{PAGE}?not_utm_term=x"}, None),
    ("utm_term", {"url": f"{PAGE}?utm_term=%E4"}, "%E4"),
    ("utm_term", {"url": f"{PAGE}?utm_term={'x' * 300}"}, "x" * 200),
    ("utm_content", {"url": f"{PAGE}?utm_term=a&utm_content=b"}, "b"),
    ("utm_content", {"url": f"{PAGE}?utm_term=a"}, None),
    ("query.q", {"url": f"{PAGE}?page=2&q=blue+hat#top"}, "blue hat"),
    ("query.q", {"url": f"{PAGE}?faq=1"}, None),
    ("query.q", {"url": f"{PAGE}?q="}, None),
    ("query.a.b*", {"url": f"{PAGE}?axb=1&a.b*=2"}, "2"),
    ("browser_version", {"ua": FIREFOX}, "Firefox 130"),
    ("browser_version", {"ua": CHROME}, "Chrome 131"),
    ("browser_version", {"ua": EDGE}, "Edge 131"),
    ("browser_version", {"ua": IPHONE}, "Mobile Safari 17"),
    ("browser_version", {"ua": PIXEL}, "Chrome Mobile 130"),
    ("browser_version", {"ua": MAC}, "Safari 18"),
    ("browser_version", {"ua": None}, None),
    ("os_version", {"ua": CHROME}, "Windows 10.0"),
    ("os_version", {"ua": IPHONE}, "iOS 17"),
    ("os_version", {"ua": PIXEL}, "Android 14"),
    ("os_version", {"ua": MAC}, "Mac OS X 10.15"),
    ("os_version", {"ua": FIREFOX}, None),
    ("not_found", {"name": "404", "url": f"{PAGE}/gone"}, "/a/gone"),
    ("not_found", {"name": "not_found", "url": f"{PAGE}/gone"}, "/a/gone"),
    ("not_found", {"url": f"{PAGE}/lost", "props": {"status": 404}}, "/a/lost"),
    ("not_found", {"url": f"{PAGE}/lost", "props": {"status": "410"}}, "/a/lost"),
    ("not_found", {"url": PAGE, "props": {"status": 200}}, None),
    ("not_found", {"url": PAGE}, None),
    ("channel", {"url": PAGE}, None),
    ("channel", {"url": f"{PAGE}?utm_source=google&utm_medium=cpc"}, "Paid Search"),
    ("channel", {"url": f"{PAGE}?utm_source=Facebook&utm_medium=paid_social"}, "Paid Social"),
    ("channel", {"url": f"{PAGE}?utm_source=partner&utm_medium=PPC"}, "Paid Other"),
    ("channel", {"url": f"{PAGE}?utm_medium=cpm"}, "Paid Other"),
    ("channel", {"url": f"{PAGE}?utm_source=november&utm_medium=E-Mail"}, "Email"),
    ("channel", {"url": f"{PAGE}?utm_medium=affiliate"}, "Affiliates"),
    ("channel", {"url": f"{PAGE}?utm_medium=banner"}, "Display"),
    ("channel", {"url": f"{PAGE}?utm_medium=social"}, "Organic Social"),
    ("channel", {"url": f"{PAGE}?utm_medium=leaflet"}, "Other"),
    ("channel", {"url": PAGE, "referrer": "https://www.google.co.uk/"}, "Organic Search"),
    ("channel", {"url": PAGE, "referrer": "https://duckduckgo.com/"}, "Organic Search"),
    ("channel", {"url": PAGE, "referrer": "https://l.facebook.com/"}, "Organic Social"),
    ("channel", {"url": PAGE, "referrer": "https://t.co/abc"}, "Organic Social"),
    ("channel", {"url": PAGE, "referrer": "https://google.evil-site.org/"}, "Referral"),
    ("channel", {"url": PAGE, "referrer": "https://notgoogle.com/"}, "Referral"),
    ("channel", {"url": PAGE, "referrer": "https://news.org/"}, "Referral"),
    ("region", {"region": "Berlin"}, "Berlin"),
    ("city", {"city": "Potsdam"}, "Potsdam"),
    ("screen", {"screen": "1920x1080"}, "1920x1080"),
]


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """An event of a site of its own for each row of the table."""
    data = data_directory(tmp_path_factory.mktemp("dimensions"))
    sealed(data, [line(f"event-{n:04d}", site=f"{n}.example", **fields) for n, (_, fields, _) in enumerate(VALUES)])
    fold(data, NOON)
    return data


def report(data: DataDirectory, **parameters: str) -> dict[str, Any]:
    asked = {"from": "2026-11-22", "to": "2026-11-22", "bots": "include", **parameters}
    query = parse(asked, datetime.fromtimestamp(NOON / 1000, UTC), "UTC")
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), query)


def test_table_has_every_dimension() -> None:
    assert {name for name, *_ in VALUES} >= {*COMPUTED, *STORED}


@pytest.mark.parametrize("name", sorted({name for name, *_ in VALUES}))
def test_values_are_those_of_the_table(folded: DataDirectory, name: str) -> None:
    with connect(256 << 20, 1) as database:
        snapshot, now = load_snapshot(folded), datetime.fromtimestamp(NOON / 1000, UTC)
        for number, (of, fields, value) in enumerate(VALUES):
            if of == name:
                asked = {"from": "2026-11-22", "to": "2026-11-22", "bots": "include", "by": name}
                made = make_report(
                    database, folded, snapshot, parse({**asked, "site": f"{number}.example"}, now, "UTC")
                )
                assert [(row["value"], row["events"]) for row in made["rows"]] == [(value, 1)], (name, fields)


def test_rows_and_filters_equal_a_recount(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    chosen = [(fields, value) for name, fields, value in VALUES if name == "channel"]
    events = [line(f"event-{n:04d}", visitor=f"v-{n % 7}", **chosen[n % len(chosen)][0]) for n in range(100)]
    sealed(data, events)
    fold(data, NOON)
    expected = Counter(chosen[n % len(chosen)][1] for n in range(100))
    assert {row["value"]: row["events"] for row in report(data, by="channel")["rows"]} == expected
    by_hour = report(data, by="channel", interval="hour", measures="events,value_sum")
    assert {row["value"]: row["events"] for row in by_hour["rows"]} == expected
    paid = sum(number for name, number in expected.items() if name and name.startswith("Paid"))
    assert report(data, filter="channel=~Paid*")["total"]["events"] == paid
    assert report(data, filter="channel==Email|")["total"]["events"] == expected["Email"] + expected[None]


def test_time_is_in_proportion_to_the_text(tmp_path: Path) -> None:
    """The longest URL that a client can send costs in proportion to its length: a glob
    of many stars, and parameters that almost have the name that is asked for.
    """

    def cpu_s(length: int) -> float:
        data = data_directory(tmp_path / str(length))
        url = f"https://example.com/?{'q' * length}"
        sealed(data, [line(f"event-{n:05d}", url=f"{url}{n}") for n in range(2000)])
        fold(data, NOON)
        globs = "*q" * 10 + "!"
        with connect(256 << 20, 1) as database:
            snapshot, now = load_snapshot(data), datetime.fromtimestamp(NOON / 1000, UTC)
            asked = {"from": "2026-11-22", "to": "2026-11-22", "by": "query.qqq", "filter": f"query.q!~{globs}"}
            query = parse(asked, now, "UTC")
            make_report(database, data, snapshot, query)
            begun = time.process_time()
            for _ in range(3):
                make_report(database, data, snapshot, query)
            return time.process_time() - begun

    assert cpu_s(1900) < 20 * cpu_s(190)
