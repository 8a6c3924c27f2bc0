"""The dashboard on a real server in a real browser: what an operator sees, and what
stays out of the page.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from tests.builders.browser import Page, chromium
from tests.builders.dashboard_page import ZONE, cells, number, pick, post, screen, shown, sign_in, view, visit
from tests.builders.server import ADMIN_TOKEN, Server

HOSTILE_PATH = "/<script>alert(1)</script>"
HOSTILE_NAME = '"><img src=x onerror=alert(1)>'
AXE = Path(__file__).resolve().parents[2] / ".venv" / "node_modules" / "axe-core" / "axe.min.js"
DASH = "\N{EN DASH}"

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that the tests of this module share, except the one that needs an empty
    one.
    """
    chromium()  # without a browser no server is started
    with Server(tmp_path_factory.mktemp("server")) as started:
        yield started


async def test_page_shows_numbers_by_the_hour_and_hostile_text_as_text(server: Server, tmp_path: Path) -> None:
    google, at = "https://www.google.com/", datetime.now(UTC) - timedelta(hours=20)
    post(
        server,
        view(server, "/pricing", "v-1", referrer=google, time=at.isoformat()),
        view(server, "/pricing", "v-2", referrer=google, time=at.isoformat()),
        view(server, "/pricing", "v-2", time=at.isoformat()),
        view(server, HOSTILE_PATH, "v-3"),
        {"name": HOSTILE_NAME, "visitor": "v-3"},
    )
    server.fold()

    async with visit(server, tmp_path, "?period=7d&interval=hour&measure=events") as page:
        await sign_in(page)
        await shown(page)
        assert await number(page, "visitors") == "3"
        assert await number(page, "events") == "5"
        assert await cells(page, "#top-pages") == [
            ["/pricing", "2", "3"],
            [HOSTILE_PATH, "1", "1"],
            ["(none)", "1", "1"],
        ]
        assert await cells(page, "#top-sources") == [["Direct or unknown", "2", "3"], ["www.google.com", "2", "2"]]
        assert await cells(page, "#top-events") == [["pageview", "3", "4"], [HOSTILE_NAME, "1", "1"]]
        assert await page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert "no accepted event is missing" in await page.text("#verdict")

        hour = at.astimezone(ZoneInfo(ZONE)).replace(minute=0, second=0, microsecond=0)
        after = hour + timedelta(hours=1)
        label = f"{hour:%H}:00{DASH}{after:%H}:00"
        rows = [row for row in await cells(page, "#chart-panel table.values") if row[0].endswith(label)]
        assert [f"{hour:%-d}" in row[0] and row[1] for row in rows if row[1] != "0"] == ["3"]


async def test_what_is_shown_stands_in_the_address(server: Server, tmp_path: Path) -> None:
    """A click on a value keeps only its events; Back takes that back; a reload and
    another tab show the same.
    """
    post(server, view(server, "/kept", "v-9"), view(server, "/other;|path", "v-9"), view(server, "/other;|path", "v-8"))
    server.fold()
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        await pick(page, "#top-pages", "/other;|path")
        await page.until("document.querySelector('#chips').innerText.includes('/other;|path')")
        await shown(page)
        assert await number(page, "visitors") == "2"
        assert [row[0] for row in await cells(page, "#top-pages")] == ["/other;|path"]
        await page.evaluate("location.reload()")
        await page.until("document.readyState === 'complete' && document.querySelector('#chips').children.length === 1")
        await shown(page)
        assert await number(page, "visitors") == "2"
        await page.click("#period input[value=today] + span")
        await page.until("location.search.includes('period=today')")
        await page.evaluate("history.go(-2)")
        await page.until("document.querySelector('#chips').children.length === 0")
        await shown(page)
        assert ["/kept", "1", "1"] in await cells(page, "#top-pages")


async def test_a_panel_says_why_it_has_no_answer_and_the_others_go_on(server: Server, tmp_path: Path) -> None:
    post(server, view(server, "/well", "v-1"))
    server.fold()
    async with visit(server, tmp_path) as page:
        await page.evaluate(
            """
            const honest = window.fetch;
            window.fetch = (path, options) => path.includes("by=country") && !window.well
              ? Promise.resolve(new Response('{"detail":"it is broken"}', {status: 500}))
              : honest(path, options);
            0
            """
        )
        await sign_in(page)
        await shown(page)
        assert "It is broken" in await page.text("[data-panel=places] .problem")
        assert len(await cells(page, "#top-pages")) > 0
        await page.evaluate("window.well = true")
        await page.click("[data-panel=places] .problem button")
        await page.until("!document.querySelector('[data-panel=places] .problem')")
        assert len(await cells(page, "#top-places")) > 0


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "dark"), (320, "light")])
async def test_everyone_can_use_it(server: Server, tmp_path: Path, width: int, scheme: str) -> None:
    """Nothing that axe calls serious or critical, before and after signing in, with
    everything opened; nothing is wider than a phone, or than a screen at 400%.
    """
    if not AXE.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("axe-core is not installed; make setup does it with npm")
    post(server, view(server, "/" + "long" * 60, "v-1", referrer="https://www.example.org/"))
    server.fold()
    async with visit(server, tmp_path, f"?filter=path=~/*&step=path=~/*&step={quote('path!=/a')}&at=/a") as page:
        await screen(page, width, scheme)
        assert await serious(page) == []
        await sign_in(page)
        await shown(page)
        for summary in (
            "#access",
            "#cohorts",
            "#stream",
            "#snippet",
            "#health",
            "#chart-panel details",
            "#annotate-details",
            "#erasure",
            "#holds",
            "#doctor",
        ):
            await page.evaluate(f"document.querySelector('{summary}').open = true")
        await page.until("document.querySelectorAll('#cohort-body tr').length > 1")
        await page.until("document.querySelectorAll('#access-body table').length === 2")
        await page.until("document.querySelector('#doctor-body details')")
        assert await serious(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, await widest(page, width)


async def widest(page: Page, width: int) -> Any:
    """What reaches beyond the screen, for the message."""
    beyond = f"each.getBoundingClientRect().right > {width}"
    named = "`${each.tagName}#${each.id}.${each.className} ${each.getBoundingClientRect().right}`"
    return await page.evaluate(
        f"[...document.querySelectorAll('body *')].filter((each) => {beyond}).map((each) => {named})"
    )


async def serious(page: Page) -> list[Any]:
    """What axe finds: https://dequeuniversity.com/rules/axe/4.10 has its rules."""
    await page.evaluate(AXE.read_text("utf-8") + ";0")
    told = "each.nodes.map((node) => node.target.join(' '))"
    found = f"found.violations.map((each) => [each.impact, each.id, {told}])"
    rules = await page.evaluate(f"axe.run(document, {{resultTypes: ['violations']}}).then((found) => {found})")
    return [each for each in rules if each[0] in {"serious", "critical"}]


async def test_page_says_which_dimensions_have_too_many_values(tmp_path: Path) -> None:
    chromium()
    with Server(tmp_path, max_values="10") as server:
        post(server, view(server, "/", "v-1"))
        server.fold()
        async with visit(server, tmp_path) as page:
            await sign_in(page)
            await shown(page)
            assert await page.evaluate("document.querySelector('#capped-line').hidden")
            post(server, *(view(server, f"/{number}", "v-1") for number in range(400)))
            await page.click("#toolbar .menu summary")
            await page.click("#fold")
            await page.until("document.querySelector('#message').innerText.startsWith('Folded')")
            await page.click("#health summary")
            await page.until("!document.querySelector('#capped-line').hidden")
            assert (await page.text("#capped")).endswith(": path")


async def test_page_says_why_a_number_is_not_there_and_that_events_are_missing(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await page.evaluate(
            """
            const honest = window.fetch;
            window.fetch = async (path, options) => {
              const answer = await (await honest(path, options)).json();
              if (path.endsWith("api/status")) answer.balance.difference = 2;
              else if (path.includes("api/report")) answer.total.visitors = null, answer.reason = "it was long ago";
              return new Response(JSON.stringify(answer));
            };
            0
            """
        )
        await sign_in(page)
        await page.until("document.querySelector('#warnings').innerText.includes('2 accepted events are missing')")
        await shown(page)
        assert await number(page, "visitors") == DASH
        assert "it was long ago" in await page.text("#reason")


async def test_first_visit_signs_in_folds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    chromium()
    with Server(tmp_path) as server:
        async with visit(server, tmp_path) as page:
            await sign_in(page, "wrong")
            await page.until("document.querySelector('#message').innerText.includes('not valid')")
            assert await page.evaluate("sessionStorage.length") == 0

            await sign_in(page)
            await shown(page)
            assert await page.text("#empty-title") == "No events yet"
            assert ADMIN_TOKEN not in await page.evaluate(
                "location.href + document.cookie + JSON.stringify(localStorage)"
            )

            post(server, view(server, "/", "v-1"))
            await page.click("#toolbar .menu summary")
            await page.click("#fold")
            await page.until("document.querySelector('#message').innerText.startsWith('Folded')")
            assert await number(page, "events") == "1"

            await page.click("#sign-out")
            assert await page.evaluate(
                "document.querySelector('#dashboard').hidden && !document.querySelector('#sign-in').hidden"
            )
            assert await page.evaluate("sessionStorage.length") == 0
            assert await page.evaluate("document.querySelectorAll('.total, .panel, #chart canvas').length") == 0
