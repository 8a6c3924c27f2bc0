"""The page of docs/consent.md in a real browser, against a real server: without consent
nothing is stored.

The web server in front, which has the page and passes events on, is made here;
everything else is as an operator has it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.builders.browser import Page, browse, chromium
from tests.builders.customer_site import listening
from tests.builders.server import Server
from tests.builders.waiting import TIMEOUT_S

DOCUMENT = Path(__file__).parents[2] / "docs" / "consent.md"
STATS = "https://stats.example.com"  # as the document writes it
VISIT = "/pricing?utm_source=news&token={}#part"
STORED = "/pricing?utm_source=news"
PASSED_ON = ("Host", "Origin", "Referer", "Cookie", "Content-Type", "User-Agent", "Sec-Fetch-Site", "Sec-GPC", "DNT")
READ_THE_ANSWER = """
    endpoint = "http://%s/v1/events", batch = { consent: "granted", events: [{ name: "leaving" }] },
    fetch(endpoint, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(batch) })
        .then((answer) => answer.json())
"""
# How long something that must not happen is given to happen.
QUIET_S = 0.4

pytestmark = [pytest.mark.component, pytest.mark.long]


class Site:
    """A web server that has one page, whatever is asked for, and passes events on.
    `answers` are what became of those.
    """

    def __init__(self, server: Server, html: str) -> None:
        self._server = server
        self._html = html
        self.port = 0
        self.answers: list[int] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/tracker.js":
            script = await asyncio.to_thread(self._server.request, "GET", "/tracker.js")
            return web.Response(body=script.body, content_type="text/javascript")
        if request.path != "/v1/events":
            return web.Response(text=self._html, content_type="text/html")
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{self._server.host}/v1/events", data=await request.read(), headers=headers) as answer,
        ):
            self.answers.append(answer.status)
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


@asynccontextmanager
async def serving(server: Server, html: str) -> AsyncIterator[Site]:
    site = Site(server, html)
    async with listening(site) as site.port:
        yield site


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It asks for consent, as it does without settings, and knows pages of its own
    host and of `localhost`.
    """
    chromium()  # without a browser no server is started
    with Server(tmp_path_factory.mktemp("server"), sites="localhost 127.0.0.1") as started:
        yield started


class Log:
    """What is stored from now on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = len(server.lines())

    async def has(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many lines, and see that no more come."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if len(self._server.lines()) >= self._before + count:
                break
        await asyncio.sleep(QUIET_S)
        lines = self._server.lines()[self._before :]
        assert len(lines) == count
        return lines


@asynccontextmanager
async def visitor(tmp_path: Path) -> AsyncIterator[Page]:
    """Somebody who was never here. Nothing that the page does may be an error."""
    async with browse(tmp_path / "profile", "UTC") as page:
        yield page
        assert page.complaints == []


async def visit(page: Page, site: Site, host: str = "127.0.0.1") -> None:
    """Load the page, at an address that it was not at before: with the same one a
    browser only scrolls to the fragment.
    """
    await page.open(f"http://{host}:{site.port}{VISIT.format(time.monotonic_ns())}")


async def sees(page: Page) -> str:
    """What the visitor is asked or offered: `banner`, the text of the button in the
    footer, or nothing.
    """
    visible = "[...document.querySelectorAll('#banner, #change')].filter((found) => found.getClientRects().length)"
    return str(
        await page.evaluate(f"{visible}.map((found) => found.id === 'banner' ? 'banner' : found.innerText).join()")
    )


def fenced(language: str, heading: str) -> str:
    """The first block of a language under a heading of the document."""
    _, _, below = DOCUMENT.read_text("utf-8").partition(f"\n## {heading}\n")
    block = re.search(rf"^```{language}\n(.*?)^```$", below, re.MULTILINE | re.DOTALL)
    assert block is not None, f"{DOCUMENT} has no {language} under {heading}"
    return block[1]


def example() -> str:
    return fenced("html", "A page with a banner")


def on_another_host(host: str) -> str:
    """The example with the line that the document changes for a page on another
    host.
    """
    line = fenced("html", "Pages on another host").rstrip()
    (old,) = re.findall(r"^ *<script defer .*$", example(), re.MULTILINE)
    assert STATS in line
    return example().replace(old, line.replace(STATS, f"http://{host}"))


def under_a_platform() -> str:
    """The head of the example: a platform that has asked calls what the document
    says.
    """
    head, _, _ = example().partition("<body>")
    stub = "const platform = { onChange(listener) { window.choose = listener; } };"
    return f"{head}<body><script>{stub}\n{fenced('js', 'A consent platform')}</script></body>"


async def test_nothing_is_sent_before_an_answer_nor_after_a_no(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    async with serving(server, example()) as site, visitor(tmp_path) as page:
        await visit(page, site)
        assert await sees(page) == "banner"
        await log.has(0)

        await page.click("#decline")
        assert await sees(page) == "Count my visits"
        await visit(page, site)
        assert await sees(page) == "Count my visits"
        await log.has(0)
        assert site.answers == []
        assert await page.evaluate("document.cookie") == "analytics_consent=declined"


async def test_visits_are_stored_from_the_yes_to_the_withdrawal(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    async with serving(server, example()) as site, visitor(tmp_path) as page:
        await visit(page, site)
        await page.click("#accept")
        assert await sees(page) == "Do not count my visits any more"
        (line,) = await log.has(1)
        expected = {
            "name": "pageview",
            "url": f"http://127.0.0.1:{site.port}{STORED}",
            "site": "127.0.0.1",
            "consent": "granted",
        }
        assert {name: line[name] for name in expected} == expected

        await visit(page, site)
        assert len({line["visitor"] for line in await log.has(2)}) == 1

        await page.click("#change")
        assert await sees(page) == "Count my visits"
        await visit(page, site)
        await log.has(2)

        await page.click("#change")
        await log.has(3)
        assert site.answers == [200] * 3


async def test_no_of_the_cookie_wins_over_a_script(server: Server, tmp_path: Path) -> None:
    """A page that forgets to look at it is refused by the server."""
    log = Log(server)
    async with serving(server, example()) as site, browse(tmp_path / "profile", "UTC") as page:
        await visit(page, site)
        await page.click("#decline")
        await page.evaluate("foldlog.consent(true)")
        await log.has(0)
        assert site.answers == [403]


@pytest.mark.parametrize("signal", ["globalPrivacyControl: true", "doNotTrack: '1'"])
async def test_browser_that_says_no_is_neither_asked_nor_counted(server: Server, tmp_path: Path, signal: str) -> None:
    log = Log(server)
    async with serving(server, example()) as site, visitor(tmp_path) as page:
        name, _, value = signal.partition(": ")
        said = f"Object.defineProperty(Navigator.prototype, '{name}', {{ get: () => {value} }})"
        await page.send("Page.enable")
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=said)
        await visit(page, site)
        assert await sees(page) == ""

        await page.evaluate("choose(true); foldlog('x')")
        await visit(page, site)
        assert await sees(page) == ""
        await log.has(0)
        assert site.answers == []


@pytest.mark.parametrize("signal", ["Sec-GPC", "DNT"])
async def test_header_of_a_browser_that_says_no_wins_over_the_cookie(
    server: Server, tmp_path: Path, signal: str
) -> None:
    log = Log(server)
    async with serving(server, example()) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.send("Network.enable")
        await page.send("Network.setExtraHTTPHeaders", headers={signal: "1"})
        await visit(page, site)
        await page.click("#accept")
        await log.has(0)
        assert site.answers == [403]


async def test_page_on_another_host_is_counted_after_its_yes(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    async with serving(server, on_another_host(server.host)) as site, visitor(tmp_path) as page:
        await visit(page, site, "localhost")
        await log.has(0)
        await page.click("#accept")
        await log.has(1)
        await visit(page, site, "localhost")
        lines = await log.has(2)
        assert {(line["site"], line["consent"]) for line in lines} == {("localhost", "granted")}

        assert await page.evaluate(READ_THE_ANSWER % server.host) == {"accepted": 1, "rejected": []}
        assert await page.evaluate("navigator.sendBeacon(endpoint, JSON.stringify(batch))")
        await log.has(4)

        await page.click("#change")
        await visit(page, site, "localhost")
        await log.has(4)


async def test_page_of_an_unknown_host_is_not_counted(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    html = on_another_host(server.host)
    async with serving(server, html) as site, browse(tmp_path / "profile", "UTC") as page:
        await visit(page, site, "other.localhost")
        await page.click("#accept")
        assert (
            await page.evaluate(f"{READ_THE_ANSWER % server.host}.catch((error) => error.message)") == "Failed to fetch"
        )
        await log.has(0)


async def test_consent_platform_grants_and_withdraws(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    async with serving(server, under_a_platform()) as site, visitor(tmp_path) as page:
        await visit(page, site)
        assert await sees(page) == ""
        await page.evaluate("choose({ statistics: false })")
        await log.has(0)
        await page.evaluate("choose({ statistics: true }); choose({ statistics: true })")
        await log.has(1)
        await visit(page, site)
        await page.evaluate("choose({ statistics: true })")  # as platforms do on every page
        await log.has(2)
        await page.evaluate("choose({ statistics: false })")
        await visit(page, site)
        await log.has(2)
