"""The browser script with a real server on another host name than the page: each view
is counted once, through lost connections, closed tabs and killed servers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shared.tokens import create_token
from tests.builders.browser import FLAGS, Page, browse, chromium
from tests.builders.customer_site import CustomerSite, page_with, serving
from tests.builders.pages import fenced
from tests.builders.pages import page as document
from tests.builders.server import Server
from tests.builders.waiting import until_async

QUIET_S = 0.4
AGREED = 'data-consent="granted"'
VIEWS = 300
# In every so many views there is a fault, from one of them to another.
BETWEEN = 25
BEGIN_AND_END = (5, 15)
# Fewer views than what a device keeps.
TABS, TURNS = 8, 5
FAULTS = ("killed", "offline", "closed")
OLD_BROWSER = """
    delete Request.prototype.keepalive;
    const send = fetch;
    fetch = (url, options) => send(url, { ...options, keepalive: false });"""
PRERENDERS = """
    <script type="speculationrules">{"prerender": [{"urls": ["/next"], "eagerness": "immediate"}]}</script>
    <script>if (location.search === "?go") setTimeout(() => (location.href = "/next"), 4000)</script>"""

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium()  # without a browser no server is started
    directory = tmp_path_factory.mktemp("server")
    with Server(directory, sites="localhost", collect_paths="/api/notes", script_path="/notes.js") as started:
        yield started


class Log:
    """What is stored from now on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = len(server.lines())

    def lines(self) -> list[dict[str, Any]]:
        return self._server.lines()[self._before :]

    async def has(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many different events, and see that no more come."""
        await until_async(lambda: len(self.ids()) >= count)
        await asyncio.sleep(QUIET_S)
        assert len(self.ids()) == count
        return self.lines()

    def ids(self) -> set[str]:
        return {line["id"] for line in self.lines()}


@asynccontextmanager
async def site_of(
    server: Server, attributes: str = AGREED, body: str = "", csp: str = ""
) -> AsyncIterator[CustomerSite]:
    html = page_with(f'src="http://{server.host}/tracker.js" {attributes}', body)
    async with serving(html, {"Content-Security-Policy": csp} if csp else None) as site:
        yield site


async def offline(page: Page, *, now: bool) -> None:
    await page.send("Network.enable")
    await page.send(
        "Network.emulateNetworkConditions", offline=now, latency=0, downloadThroughput=-1, uploadThroughput=-1
    )


async def test_page_under_a_strict_policy_is_counted(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    policy = f"default-src 'none'; script-src http://{server.host}; connect-src http://{server.host}"
    async with site_of(server, csp=policy) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.open(site.url("/pricing?utm_source=news&token=7"))
        (line,) = await log.has(1)
        assert (line["site"], line["consent"]) == ("localhost", "granted")
        assert line["url"] == site.url("/pricing?utm_source=news")
        assert page.complaints == []


async def test_other_paths_of_script_and_events_count_as_well(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    html = page_with(f'src="http://{server.host}/notes.js" data-endpoint="/api/notes" {AGREED}')
    async with serving(html) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.open(site.url())
        await log.has(1)


async def test_script_with_its_hash_is_loaded_on_another_host(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    sri = server.request("GET", "/tracker.v1.js").body
    async with serving("") as site, browse(tmp_path / "profile", "UTC") as page:
        source = f'src="http://{server.host}/tracker.v1.js" integrity="{hash_of(sri)}" crossorigin="anonymous" {AGREED}'
        site.html = page_with(source)
        await page.open(site.url())
        await log.has(1)
        assert page.complaints == []


async def test_page_without_scripts_is_counted_by_the_documented_pixel(server: Server, tmp_path: Path) -> None:
    """Under a strict policy, and from another host, which the browser does not name."""
    log = Log(server)
    (documented,) = [block for block in fenced(document("docs/tracker.md"), "html") if "<noscript>" in block]
    key = create_token(server.data, "pixel", "localhost", "pageview")[1]
    image = documented.replace("https://stats.example.com", f"http://{server.host}").replace("KEY", key)
    page_html = f"<!doctype html><title>Example</title>{image.replace('&url=', '&consent=granted&url=')}"
    policy = f"default-src 'none'; img-src http://{server.host}; connect-src http://{server.host}"
    async with (
        serving(page_html, {"Content-Security-Policy": policy, "Cross-Origin-Embedder-Policy": "require-corp"}) as site,
        browse(tmp_path / "profile", "UTC") as page,
    ):
        await page.open(site.url("/with-scripts"))
        await log.has(0)
        await page.send("Emulation.setScriptExecutionDisabled", value=True)
        await page.send("Page.navigate", url=site.url("/without"))
        (line,) = await log.has(1)
        assert (line["name"], line["url"], line["site"]) == ("pageview", "https://www.example.com/pricing", "localhost")
        await page.send("Page.reload")
        await log.has(2)


async def test_time_in_sight_is_reported_of_each_page(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    clock = "let seconds = 1; performance.now = () => 1e3 * seconds; Document.prototype.hasFocus = () => true;"
    async with site_of(server, f"{AGREED} data-engaged") as site, browse(tmp_path / "profile", "UTC") as page:
        await page.send("Page.enable")
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=clock)
        await page.open(site.url("/read"))
        await page.evaluate("seconds += 40; history.pushState(0, '', '/skimmed')")
        await page.evaluate("seconds += 5; history.pushState(0, '', '/read')")
        await page.evaluate("seconds += 20")
        await page.open("about:blank")
        await log.has(6)
    server.fold()
    asked = {"by": "path", "event": "pageview", "measures": "events,engaged_time", "filter": "path==/read|/skimmed"}
    rows = server.get("/admin/api/report", bots="include", **asked).json()["rows"]
    assert {row["value"]: (row["events"], row["engaged_time"]) for row in rows} == {
        "/read": (2, 60.0),
        "/skimmed": (1, 5.0),
    }


async def test_refused_pixel_is_an_image_all_the_same(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    image = f"<!doctype html><img src='http://{server.host}/v1/pixel.gif?k=altered' alt=''>"
    async with serving(image) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.open(site.url())
        await page.until("document.images[0].complete")
        assert await page.evaluate("document.images[0].naturalWidth") == 1
        await log.has(0)


async def test_page_of_an_unknown_host_gives_up(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    async with site_of(server) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.open(site.url(host="127.0.0.1"))
        await page.until("performance.getEntriesByType('resource').some((entry) => entry.name.endsWith('/v1/events'))")
        await page.until("localStorage.length === 0")
        await log.has(0)
        assert "origin" in page.complaints[0]


async def test_events_made_offline_arrive_once_online(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    async with site_of(server) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.open(site.url())
        await log.has(1)
        await offline(page, now=True)
        await page.evaluate("history.pushState(0, '', '/b'); foldlog('x')")
        await log.has(1)
        await offline(page, now=False)
        assert {line["name"] for line in await log.has(3)} == {"pageview", "x"}
        assert await page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("old", [False, True])
async def test_event_of_a_closed_tab_arrives_once(server: Server, tmp_path: Path, old: bool) -> None:
    log = Log(server)
    async with site_of(server) as site, browse(tmp_path / "profile", "UTC") as page:
        async with tab(tmp_path / "profile", OLD_BROWSER if old else "") as closing:
            await closing.open(site.url("/a"))
            await log.has(1)
            await kill_or_start(server)
            await closing.evaluate("foldlog('unheard')")
            await asyncio.sleep(QUIET_S)
        await kill_or_start(server)
        await log.has(1)
        await page.open(site.url("/b"))
        assert {line["name"] for line in await log.has(3)} == {"pageview", "unheard"}


async def test_event_of_the_last_moment_arrives_without_keepalive(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    leaves = "<script>addEventListener('pagehide', () => foldlog('leaving'), true)</script>"
    async with site_of(server, body="") as site, browse(tmp_path / "profile", "UTC") as page:
        site.html = leaves + site.html
        await page.send("Page.enable")
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=OLD_BROWSER)
        await page.open(site.url("/a"))
        await log.has(1)
        await page.open("about:blank")
        await log.has(2)


async def test_back_from_memory_is_a_view(server: Server, tmp_path: Path) -> None:
    log = Log(server)
    seen = "<script>addEventListener('pageshow', (event) => { shown = event.persisted })</script>"
    async with site_of(server, body=seen) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.open(site.url("/a"))
        await page.open(site.url("/b"))
        await log.has(2)
        await page.evaluate("history.back()")
        await page.until("location.pathname === '/a' && shown")
        lines = await log.has(3)
        assert (lines[2]["url"], "referrer" in lines[2]) == (site.url("/a"), False)


@pytest.mark.parametrize(("query", "views"), [("?stay", 1), ("?go", 2)])
async def test_prerendered_page_is_a_view_once_it_is_seen(
    server: Server, tmp_path: Path, query: str, views: int
) -> None:
    """Without a debugger: under one, nothing is prerendered."""
    log = Log(server)
    flags = [flag for flag in FLAGS if "debugging" not in flag]
    async with site_of(server, body=PRERENDERS + "<script>foldlog('hello')</script>") as site:
        command = [chromium(), *flags, f"--user-data-dir={tmp_path / 'profile'}", site.url(f"/{query}")]
        with (tmp_path / "chromium.log").open("wb") as output:
            process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        try:
            await until_async(lambda: any("prerender" in purpose for _, purpose in site.asked))
            await asyncio.sleep(1)
            lines = await log.has(2 * views)
        finally:
            process.terminate()
            await process.wait()
        # What was seen is what had been loaded in advance.
        assert all("prerender" in purpose for path, purpose in site.asked if path == "/next")
        assert [line["name"] for line in lines].count("pageview") == views


async def test_every_view_is_counted_once_through_faults(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In turns, for ten views each: the server is killed; the connection is lost; the
    server is killed and the tab of each view is closed. `--examples 10000 --timeout
    7200` makes a long run of it.
    """
    views = request.config.option.examples or VIEWS
    log = Log(server)
    server.fold()
    before = counted(server)
    async with site_of(server) as site, browse(tmp_path / "profile", "UTC") as page:
        for view in range(views):
            fault, phase = FAULTS[view // BETWEEN % len(FAULTS)], view % BETWEEN
            if phase in BEGIN_AND_END:
                await (offline(page, now=phase < BETWEEN // 2) if fault == "offline" else kill_or_start(server))
            is_faulty = BEGIN_AND_END[0] <= phase < BEGIN_AND_END[1]
            await see(site, page, tmp_path / "profile", f"/{view}", fault if is_faulty else "")
        await log.has(views)
    server.fold()
    assert counted(server) - before == views
    assert {line["url"] for line in log.lines()} == {site.url(f"/{view}") for view in range(views)}


async def test_tabs_that_open_and_close_at_once_lose_no_view(server: Server, tmp_path: Path) -> None:
    """While the server is away, and beside a tab that stays. Each tab has a process of
    its own, with a copy of what is on the device that lags behind the others'.
    """
    log = Log(server)
    server.fold()
    before = counted(server)
    views = [f"/at-once/{view}" for view in range(TABS * TURNS)]
    async with site_of(server) as site, browse(tmp_path / "profile", "UTC") as page:
        await page.open(site.url("/stays"))
        await log.has(1)
        await kill_or_start(server)
        for turn in range(TURNS):
            seen = views[turn::TURNS]
            await asyncio.gather(*(see(site, page, tmp_path / "profile", path, "closed") for path in seen))
        await kill_or_start(server)
        await page.open(site.url("/next"))
        await log.has(len(views) + 2)
        await page.until("localStorage.length === 0")
    server.fold()
    assert counted(server) - before == len(views) + 2
    assert {line["url"] for line in log.lines()} == {site.url(path) for path in ("/stays", *views, "/next")}


async def see(site: CustomerSite, page: Page, profile: Path, path: str, fault: str) -> None:
    """View a page as the fault allows."""
    if fault == "offline":
        await page.evaluate(f"history.pushState(0, '', '{path}')")
    elif fault == "closed":
        async with tab(profile) as closing:
            await closing.open(site.url(path))
    else:
        await page.open(site.url(path))


async def kill_or_start(server: Server) -> None:
    await asyncio.to_thread(server.start if server.process is None else server.kill)


def counted(server: Server) -> int:
    return int(server.get("/admin/api/report", event="pageview", bots="include").json()["total"]["events"])


def hash_of(content: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode('ascii')}"


@asynccontextmanager
async def tab(profile: Path, before: str = "") -> AsyncIterator[Page]:
    """A tab of a running browser; leaving the block closes it."""
    port = (profile / "DevToolsActivePort").read_text("ascii").split("\n")[0]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.put("/json/new?about:blank") as answer:
            target = await answer.json()
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            page = Page(socket)
            if before:
                await page.send("Page.enable")
                await page.send("Page.addScriptToEvaluateOnNewDocument", source=before)
            yield page
            async with session.get(f"/json/close/{target['id']}") as answer:
                assert answer.status == 200
