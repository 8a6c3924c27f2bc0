"""Paths, annotations and files of the dashboard in a real browser: each used once as an
operator would.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.builders.browser import chromium
from tests.builders.dashboard_page import cells, number, pick, post, screen, shown, sign_in, view, visit
from tests.builders.server import ADMIN_TOKEN, Server, bearer

HOSTILE = "<img src=x onerror=alert(1)>"

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two visitors by way of /pricing, one of whom came from a hostile page."""
    chromium()
    with Server(tmp_path_factory.mktemp("server")) as started:
        at = datetime.now(UTC) - timedelta(hours=20)
        for minute, path, visitor in (
            (0, "/", "v-1"),
            (1, "/pricing", "v-1"),
            (2, "/signup", "v-1"),
            (0, f"/{HOSTILE}", "v-2"),
            (1, "/pricing", "v-2"),
        ):
            post(started, view(started, path, visitor, time=(at + timedelta(minutes=minute)).isoformat()))
        started.fold()
        yield started


async def test_paths_lead_from_a_page_to_those_around_it(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        await page.click("#top-pages [aria-label='Paths around /pricing']")
        await page.until("location.search.includes('at=%2Fpricing') && document.querySelector('#paths-after')")
        assert await cells(page, "#paths-after") == [
            ["/signup", "1", "50%", "1"],
            ["By /signup: The visit ends", "1", "50%", "1"],
            ["The visit ends", "1", "50%", "1"],
        ]
        before = await cells(page, "#paths-before")
        assert sorted(row[0] for row in before if not row[0].startswith("By ")) == ["/", f"/{HOSTILE}"]
        assert "2 visitors were there 2 times" in await page.text("#paths-note")
        await pick(page, "#paths-after", "/signup")
        await page.until("location.search.includes('at=%2Fsignup')")
        await page.until("document.querySelector('#paths-before .pick')?.innerText === '/pricing'")
        await page.evaluate("history.back()")
        await page.until("document.querySelector('#paths-after .pick')?.innerText === '/signup'")
        assert await page.evaluate("document.querySelector('#paths-form [name=at]').value") == "/pricing"


async def test_note_is_kept_marked_told_and_deleted(server: Server, tmp_path: Path) -> None:
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    async with visit(server, tmp_path, "?period=7d&tz=UTC") as page:
        await sign_in(page)
        await shown(page)
        await page.click("#annotate-details summary")
        await page.evaluate(f"document.querySelector('#annotate [name=at]').value = '{day}'")
        await page.fill("#annotate [name=text]", f"Deploy {HOSTILE}")
        await page.click("#annotate button")
        await page.until("document.querySelector('#annotations').children.length === 1")
        assert f"Deploy {HOSTILE}" in await page.text("#annotations")
        notes = [row for row in await cells(page, "#chart-panel table.values") if row[-1] == f"Deploy {HOSTILE}"]
        assert [f"{day:%-d}" in row[0] for row in notes] == [True]
        await page.evaluate("window.isOld = true, location.reload()")
        await page.until("!window.isOld && document.querySelector('#annotations')?.children.length === 1")
        await page.click("#annotations button")
        await page.until("document.querySelector('#annotations').children.length === 0")
        assert await page.evaluate("document.querySelectorAll('main img').length") == 0


async def test_each_panel_is_saved_as_csv_and_as_parquet(server: Server, tmp_path: Path) -> None:
    goal = json.dumps({"name": "Priced", "filter": "path==/pricing"}).encode()
    made = server.request("PUT", "/admin/api/goals", goal, bearer(ADMIN_TOKEN) | {"Content-Type": "application/json"})
    assert made.status in {200, 201, 204}, made.body
    asked = f"?at=/pricing&step={quote('path==/')}&step={quote('path==/pricing')}"
    async with visit(server, tmp_path, asked) as page:
        await page.evaluate(
            """
            window.saved = [];
            let last = null;
            URL.createObjectURL = (content) => (last = content, "#");
            HTMLAnchorElement.prototype.click = function () { saved.push([this.download, last]); };
            0
            """
        )
        await sign_in(page)
        await shown(page)
        await page.evaluate("document.querySelector('#cohorts').open = true")
        await page.until("document.querySelectorAll('#cohort-body tr').length > 1")
        buttons = int(await page.evaluate("document.querySelectorAll('.save:not([hidden])').length"))
        assert buttons == 2 * 11  # chart, six panels, goals, funnel, paths, returning visitors
        await page.evaluate("[...document.querySelectorAll('.save:not([hidden])')].forEach((each) => each.click()), 0")
        await page.until(f"saved.length === {buttons}")
        read = "async ([name, content]) => [name, await content.slice(0, 4).text(), content.size]"
        saved = await page.evaluate(f"Promise.all(saved.map({read}))")
        assert len({name for name, *_ in saved}) == buttons
        for name, begin, size in saved:
            assert name.endswith((".csv", ".parquet")), name
            assert size > 4
            assert (begin == "PAR1") == name.endswith(".parquet"), name


async def test_with_a_filter_all_panels_ask_once(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await page.evaluate(
            """
            window.asked = [];
            const honest = window.fetch;
            window.fetch = (path, options) => (asked.push(path), honest(path, options));
            0
            """
        )
        await sign_in(page)
        await shown(page)
        await pick(page, "#top-pages", "/pricing")
        await page.until("document.querySelector('#chips').children.length === 1")
        await shown(page)
        assert await number(page, "visitors") == "2"
        assert await cells(page, "#top-pages") == [["/pricing", "2", "2"]]
        assert await cells(page, "#top-events") == [["pageview", "2", "2"]]
        filtered = "asked.filter((path) => path.includes('filter=') && "
        assert (
            await page.evaluate(filtered + "path.includes('api/batch')).length") == 2
        )  # of events alone, and the others
        assert await page.evaluate(filtered + "path.includes('api/report')).length") == 0


async def test_events_of_a_long_time_are_there_before_visitors_are(server: Server, tmp_path: Path) -> None:
    """The answer with visitors is held back, as one that takes seconds."""
    async with visit(server, tmp_path, "?period=12mo") as page:
        await page.evaluate(
            """
            window.go = null;
            const honest = window.fetch;
            window.fetch = async (path, options) => {
              const isSlow = path.includes('filter=') && decodeURIComponent(path).includes('visitors');
              if (isSlow) await new Promise((ready) => (go = ready));
              return honest(path, options);
            };
            0
            """
        )
        await sign_in(page)
        await shown(page)
        await pick(page, "#top-pages", "/pricing")
        await page.until("document.querySelector('#top-pages .muted')?.textContent === '…'")
        assert await cells(page, "#top-pages") == [["/pricing", "…", "2"]]
        await page.until("go")
        await page.evaluate("go()")
        await shown(page)
        assert await cells(page, "#top-pages") == [["/pricing", "2", "2"]]


async def test_visitor_is_erased_after_a_look_and_the_id_once_more(server: Server, tmp_path: Path) -> None:
    gone = f"gone {HOSTILE}"
    post(server, view(server, "/erased", gone), view(server, "/erased", gone))
    server.fold()
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        await page.click("#erasure summary")
        await page.fill("#erasure-form [name=visitor]", gone)
        await page.click("#erasure-form button")
        await page.until(
            "document.querySelector('#erasure-said').innerText.includes('2 events of this visitor on 1 day')"
        )
        await page.fill("#erasure-confirm [name=again]", "another")
        await page.click("#erasure-confirm button")
        await page.until("document.querySelector('#erasure-state').innerText.includes('Nothing was erased')")
        assert server.get(f"/admin/api/visitors/{quote(gone, safe='')}").json()["events"] == 2
        await page.fill("#erasure-confirm [name=again]", gone)
        await page.click("#erasure-confirm button")
        await page.until("document.querySelector('#erasure-state').innerText.startsWith('Erased: 2 events')")
        assert server.get(f"/admin/api/visitors/{quote(gone, safe='')}").json()["events"] == 0
        assert await page.evaluate("document.querySelector('#erasure-confirm').hidden")
        assert await page.evaluate("document.querySelectorAll('main img').length") == 0


async def test_printed_page_is_light_and_has_no_controls(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await screen(page, 1280, "dark")
        await sign_in(page)
        await shown(page)
        color = "getComputedStyle(document.querySelector('.card')).backgroundColor"
        assert await page.evaluate(color) != "rgb(255, 255, 255)"
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        await page.send("Emulation.setEmulatedMedia", media="print", features=dark)
        assert await page.evaluate(color) == "rgb(255, 255, 255)"
        assert await page.evaluate("getComputedStyle(document.querySelector('#toolbar')).display") == "none"
        for control in ("#live", "#funnel", "[data-panel=goals] details"):
            assert not await page.evaluate(f"document.querySelector('{control}').checkVisibility()"), control
        printed = await page.send("Page.printToPDF")
        assert base64.b64decode(printed["data"]).startswith(b"%PDF-")
