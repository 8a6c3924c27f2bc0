"""The dashboard on a real server in a real browser: what an operator sees, and what
stays out of the page.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.builders.browser import Page, browse, chromium
from tests.builders.server import ADMIN_TOKEN, Server

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
HOSTILE_PATH = "/<script>alert(1)</script>"
HOSTILE_NAME = '"><img src=x onerror=alert(1)>'
# Half an hour off UTC, so that an hour of the wrong zone is nowhere an hour of the
# right one.
ZONE = "Asia/Kolkata"
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


@asynccontextmanager
async def visit(server: Server, tmp_path: Path) -> AsyncIterator[Page]:
    """The dashboard in a new browser, before signing in. Nothing that it does may be an
    error or against its policy.
    """
    async with browse(tmp_path / "profile", ZONE) as page:
        await page.open(f"http://{server.host}/admin/")
        yield page
        assert page.complaints == []


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

    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await page.until(
            "document.querySelector('#chart canvas') && document.querySelector('#dashboard').ariaBusy === 'false'"
        )
        assert await page.text("#visitors") == "3"
        assert await page.text("#events") == "5"
        assert await cells(page, "#top-path") == [
            ["/pricing", "2", "3"],
            [HOSTILE_PATH, "1", "1"],
            ["(none)", "1", "1"],
        ]
        assert await cells(page, "#top-referrer") == [["(direct)", "2", "3"], ["www.google.com", "2", "2"]]
        assert await cells(page, "#top-event") == [["pageview", "3", "4"], [HOSTILE_NAME, "1", "1"]]
        assert await page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert "no accepted event is missing" in await page.text("#verdict")

        hour = at.astimezone(ZoneInfo(ZONE)).replace(minute=0, second=0, microsecond=0)
        after = hour + timedelta(hours=1)
        assert await legend_at(page, hour) == [f"{hour:%H}:00{DASH}{after:%H}:00", "3", "2"]
        assert (await legend_at(page, after))[1:] == ["0", "0"]


async def test_page_says_which_dimensions_have_too_many_values(tmp_path: Path) -> None:
    chromium()
    with Server(tmp_path, max_values="10") as server:
        post(server, view(server, "/", "v-1"))
        server.fold()
        async with visit(server, tmp_path) as page:
            await sign_in(page)
            await page.until("!document.querySelector('#dashboard').hidden")
            assert await page.evaluate("document.querySelector('#capped-line').hidden")
            post(server, *(view(server, f"/{number}", "v-1") for number in range(400)))
            await page.click("#fold")
            await page.until("!document.querySelector('#capped-line').hidden")
            assert (await page.text("#capped")).endswith(": path")


async def test_page_says_why_a_number_is_not_there_and_that_events_are_missing(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await page.evaluate(
            """
            const honest = ask;
            ask = async (...asked) => {
              const answer = await honest(...asked);
              if (asked[0] === "status") answer.balance.difference = 2;
              else answer.total.visitors = null, answer.reason = "it was long ago";
              return answer;
            };
            0
            """
        )
        await sign_in(page)
        await page.until("document.querySelector('#warnings').innerText.includes('2 accepted events are missing')")
        assert await page.text("#visitors") == DASH
        assert "it was long ago" in await page.text("#reason")


async def test_first_visit_signs_in_folds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    chromium()
    with Server(tmp_path) as server:
        async with visit(server, tmp_path) as page:
            await sign_in(page, "wrong")
            await page.until("document.querySelector('#message').innerText.includes('not valid')")
            assert await page.evaluate("sessionStorage.length") == 0

            await sign_in(page)
            await page.until("!document.querySelector('#dashboard').hidden")
            assert await page.text("#empty-title") == "No events yet"
            assert ADMIN_TOKEN not in await page.evaluate(
                "location.href + document.cookie + JSON.stringify(localStorage)"
            )

            post(server, view(server, "/", "v-1"))
            await page.click("#fold")
            await page.until("document.querySelector('#message').innerText.startsWith('Folded')")
            assert await page.text("#events") == "1"

            await page.click("#sign-out")
            assert await page.evaluate(
                "document.querySelector('#dashboard').hidden && !document.querySelector('#sign-in').hidden"
            )
            assert await page.evaluate("sessionStorage.length") == 0
            assert await page.text("#events") == DASH


def post(server: Server, *events: dict[str, Any]) -> None:
    """As a page of the server's own origin sends them. An agent that is no browser's
    would be counted as a bot.
    """
    headers = {"Origin": f"http://{server.host}", "User-Agent": AGENT, "Content-Type": "application/json"}
    answer = server.request(
        "POST", "/v1/events", json.dumps({"events": events, "consent": "granted"}).encode(), headers
    )
    assert answer.status == 200, answer


def view(server: Server, path: str, visitor: str, **fields: str) -> dict[str, Any]:
    return {"name": "pageview", "url": f"http://{server.host}{path}", "visitor": visitor} | fields


async def sign_in(page: Page, token: str = ADMIN_TOKEN) -> None:
    await page.fill("#token", token)
    await page.click("#sign-in button")


async def cells(page: Page, table: str) -> list[list[str]]:
    """The text of a table, row by row, without its head."""
    rows = f"[...document.querySelector('{table}').tBodies[0].rows]"
    return list(await page.evaluate(f"{rows}.map((row) => [...row.cells].map((cell) => cell.innerText))"))


async def legend_at(page: Page, hour: datetime) -> list[str]:
    """What the legend says (time of day, events, visitors) while the pointer is in the
    middle of an hour of the chart.
    """
    middle = (hour + timedelta(minutes=30)).timestamp()
    await page.evaluate("document.querySelector('#chart').scrollIntoView({block: 'center'})")
    box = await page.evaluate("(({x, y}) => ({x, y}))(document.querySelector('.u-over').getBoundingClientRect())")
    await page.point_at(box["x"] + await page.evaluate(f"plot.valToPos({middle}, 'x')"), box["y"] + 50)
    values = "[...document.querySelectorAll('.u-legend .u-value')].map((cell) => cell.innerText)"
    await page.until(f"{values}[0].includes('{hour:%H}:00{DASH}')")
    time, *numbers = await page.evaluate(values)
    return [time.rpartition(", ")[2], *numbers]
