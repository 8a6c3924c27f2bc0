"""The demo in a real browser: the shop counts what its visitor agreed to and nothing
else, and the link signs in without a token in an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.sign_in_code import create_code
from tests.builders.browser import Page, browse, chromium
from tests.builders.server import Server
from tests.builders.waiting import until_async

SHOP = "shop.localhost"
QUIET_S = 0.6
ZONE = "Europe/Berlin"

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium()  # without a browser no server is started
    with Server(tmp_path_factory.mktemp("server"), sites=SHOP, demo="true") as started:
        yield started


@asynccontextmanager
async def shop(server: Server, tmp_path: Path) -> AsyncIterator[Page]:
    async with browse(tmp_path / "profile", ZONE) as page:
        await page.open(f"http://{SHOP}:{server.port}/demo/")
        await page.until("window.foldlog && !foldlog.q && !document.querySelector('#banner').hidden")
        yield page
        assert page.complaints == []


async def buy(page: Page) -> None:
    """Through the whole funnel, as a visitor clicks."""
    await page.click("a[href='#/teas/sencha']")
    await page.until("location.hash === '#/teas/sencha' && document.querySelector('.product')")
    await page.click(".primary")
    await page.click("nav a[href='#/cart']")
    await page.until("document.querySelector('.lines')")
    await page.click(".primary")
    await page.until("location.hash === '#/checkout' && document.querySelector('.primary')")
    await page.click(".primary")
    await page.until("location.hash === '#/thanks'")


def seen(server: Server, before: int) -> list[tuple[Any, ...]]:
    return [(line["name"], line["url"].partition("/demo")[2], line.get("value")) for line in server.lines()[before:]]


BOUGHT = [
    ("pageview", "/teas/sencha", None),
    ("add_to_cart", "/teas/sencha", 14.5),
    ("pageview", "/cart", None),
    ("pageview", "/checkout", None),
    ("checkout", "/checkout", None),
    ("order", "/checkout", 14.5),
    ("pageview", "/thanks", None),
]


async def test_visitor_who_declines_is_not_counted(server: Server, tmp_path: Path) -> None:
    before = len(server.lines())
    async with shop(server, tmp_path) as page:
        await page.click("#decline")
        await buy(page)
        assert "nothing of you is counted" in await page.text("#state")
        await page.send("Page.reload")
        await page.until("document.readyState === 'complete' && document.querySelector('#banner').hidden")
        await asyncio.sleep(QUIET_S)
        assert seen(server, before) == []


async def test_visitor_who_has_not_answered_is_not_counted(server: Server, tmp_path: Path) -> None:
    before = len(server.lines())
    async with shop(server, tmp_path) as page:
        await buy(page)
        await page.send("Page.reload")
        await page.until("document.readyState === 'complete' && !document.querySelector('#banner').hidden")
        await asyncio.sleep(QUIET_S)
        assert seen(server, before) == []


async def test_visitor_who_accepts_is_counted_until_they_take_it_back(server: Server, tmp_path: Path) -> None:
    before = len(server.lines())
    async with shop(server, tmp_path) as page:
        await page.click("#accept")
        await buy(page)
        expected = [("pageview", "/", None), *BOUGHT]
        await until_async(lambda: len(seen(server, before)) >= len(expected))
        assert sorted(seen(server, before), key=str) == sorted(expected, key=str)
        assert {(line["site"], line["consent"]) for line in server.lines()[before:]} == {(SHOP, "granted")}
        await page.click("#change")
        await page.click("a[href='#/teas']")
        await asyncio.sleep(QUIET_S)
        assert len(seen(server, before)) == len(expected)


async def test_link_signs_in_once_and_leaves_no_trace_in_the_address(server: Server, tmp_path: Path) -> None:
    code = create_code(server.data)
    link = f"http://127.0.0.1:{server.port}/admin/#code={code}"
    async with browse(tmp_path / "profile", ZONE) as page:
        await page.open(link)
        await page.until("!document.querySelector('#sign-out').hidden")
        assert await page.evaluate("location.href") == link.partition("#")[0]
        assert await page.evaluate("history.length") <= 2
        token = await page.evaluate("sessionStorage['foldlog.token']")
        assert token.startswith("fl_admin_")
        assert await page.evaluate("localStorage.length") == 0
        assert page.complaints == []
    assert token not in server.stderr() and code not in server.stderr()
    async with browse(tmp_path / "other", ZONE) as page:
        await page.open(link)
        await page.until("document.querySelector('#message').innerText.includes('You are not signed in')")
        assert await page.evaluate("sessionStorage.length") == 0
        assert await page.evaluate("location.hash") == ""


async def test_server_that_is_no_demo_says_so(tmp_path: Path) -> None:
    chromium()
    with Server(tmp_path) as server:
        async with browse(tmp_path / "profile", ZONE) as page:
            await page.open(f"http://{server.host}/admin/#code=abc")
            await page.until("document.querySelector('#message').innerText.includes('knows no sign-in links')")
            assert not await page.evaluate("document.querySelector('#sign-in').hidden")
