"""The browser script in a real browser: what it sends, when, and what it does with each
answer. The customer's web server is the collector, so that each batch can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.builders.browser import Page, browse
from tests.builders.customer_site import CustomerSite, page_with, serving
from tests.builders.pages import fenced, page
from tests.builders.waiting import until_async

# How long something that must not happen is given to happen.
QUIET_S = 0.4
SCRIPT = 'src="/tracker.js" data-endpoint="/collect"'
TO_WAIT = 'data-consent="wait"'
AGREED = 'data-consent="granted"'
PROBLEM = '{"code":"%s"}'

pytestmark = pytest.mark.component
long = pytest.mark.long


@asynccontextmanager
async def visiting(
    tmp_path: Path, attributes: str = "", body: str = "", path: str = "/", before: str = ""
) -> AsyncIterator[tuple[CustomerSite, Page]]:
    """A page that a visitor opened; `before` runs in it before any script of it."""
    async with serving(page_with(f"{SCRIPT} {attributes}", body)) as site, browse(tmp_path / "profile", "UTC") as page:
        if before:
            await page.send("Page.enable")
            await page.send("Page.addScriptToEvaluateOnNewDocument", source=before)
        await page.open(site.url(path))
        yield site, page


async def has(site: CustomerSite, count: int) -> list[dict[str, Any]]:
    """Wait for so many events, and see that no more come."""
    await until_async(lambda: len(site.events) >= count)
    await asyncio.sleep(QUIET_S)
    assert len(site.events) == count, site.events
    return list(site.events)


def paths(site: CustomerSite, events: list[dict[str, Any]]) -> list[str]:
    return [event["url"].removeprefix(site.url("")) for event in events]


async def test_view_waits_for_a_yes_and_nothing_follows_a_no(tmp_path: Path) -> None:
    query = "/a?token=7;utm_medium=mail&amp;UTM_source=news&q=shoes&#part"
    async with visiting(tmp_path, f'{TO_WAIT} data-query="q"', path=query) as (site, page):
        await page.evaluate("foldlog('early')")
        await has(site, 0)
        await page.evaluate("foldlog.consent(true)")
        arrival, early = await has(site, 2)
        assert (arrival["name"], early["name"]) == ("pageview", "early")
        assert paths(site, [arrival]) == ["/a?utm_medium=mail&UTM_source=news&q=shoes"]
        assert [batch["consent"] for batch in site.batches] == ["granted"]

        await page.evaluate("foldlog('signup', { value: 9.5, props: { plan: 'half \\ud83d' } })")
        signup = (await has(site, 3))[2]
        assert (signup["value"], len({event["id"] for event in site.events})) == (9.5, 3)

        await page.evaluate("foldlog.consent(false); foldlog('late')")
        await page.evaluate("history.pushState(0, '', '/b')")
        await has(site, 3)
        assert await page.evaluate("localStorage.length") == 0
        assert page.complaints == []


@long
async def test_no_forgets_what_waited_and_a_later_yes_counts_this_page(tmp_path: Path) -> None:
    async with visiting(tmp_path, TO_WAIT) as (site, page):
        await page.evaluate("foldlog('early'); foldlog.consent(false)")
        await has(site, 0)
        await page.evaluate("foldlog.consent(true); foldlog.consent(true)")
        assert [event["name"] for event in await has(site, 1)] == ["pageview"]


@long
async def test_each_route_is_a_view_and_only_the_arrival_has_a_referrer(tmp_path: Path) -> None:
    body = '<a id="next" href="/a">next</a><a id="part" href="#part">part</a>'
    async with visiting(tmp_path, body=body) as (site, page):
        await has(site, 1)
        await page.click("#next")
        assert (await has(site, 2))[1]["referrer"] == site.url("/")

        await page.evaluate("history.pushState(0, '', '/b')")
        await page.evaluate("history.pushState(0, '', '/b?page=2')")
        await page.evaluate("history.pushState(0, '', '/b?page=2')")  # the same place
        await page.evaluate("history.replaceState(0, '', '/b?tab=3')")  # the same path
        await page.click("#part")
        await page.evaluate("history.replaceState(0, '', '/c')")
        await page.evaluate("history.pushState(0, '', '/d')")
        await page.evaluate("history.back()")
        events = await has(site, 7)
        assert paths(site, events) == ["/", "/a", "/b", "/b", "/c", "/d", "/c"]
        assert [event.get("referrer") for event in events[2:]] == [None] * 5
        assert page.complaints == []


@long
async def test_hash_routes_are_paths_where_the_page_says_so(tmp_path: Path) -> None:
    async with visiting(tmp_path, 'data-hash data-query="tab"', path="/app/#/settings?tab=2&id=7") as (site, page):
        await has(site, 1)
        await page.evaluate("location.hash = '#!/users'")
        await page.evaluate("location.hash = '#!/users'")
        await page.evaluate("location.hash = '#top'")
        assert paths(site, await has(site, 3)) == ["/app/settings?tab=2", "/app/users", "/app/"]


@long
async def test_hash_is_no_route_otherwise(tmp_path: Path) -> None:
    async with visiting(tmp_path, path="/#/settings") as (site, page):
        await page.evaluate("location.hash = '#/users'")
        assert paths(site, await has(site, 1)) == ["/"]


@long
@pytest.mark.parametrize("signal", ["globalPrivacyControl', { get: () => true", "doNotTrack', { get: () => '1'"])
async def test_browser_that_says_no_sends_and_keeps_nothing(tmp_path: Path, signal: str) -> None:
    before = f"Object.defineProperty(Navigator.prototype, '{signal} }})"
    async with visiting(tmp_path, AGREED, before=before) as (site, page):
        await page.evaluate("foldlog.consent(true); foldlog('x'); history.pushState(0, '', '/b')")
        await has(site, 0)
        assert await page.evaluate("localStorage.length") == 0


@long
async def test_own_browser_is_left_out_until_it_is_taken_back(tmp_path: Path) -> None:
    async with visiting(tmp_path, AGREED) as (site, page):
        await has(site, 1)
        await page.evaluate("foldlog.ignore(); foldlog('x')")
        await page.open(site.url("/b"))
        await page.evaluate("foldlog.consent(true); foldlog('y'); foldlog.consent(false)")
        await page.open(site.url("/c"))
        await has(site, 1)
        await page.evaluate("foldlog.ignore(false); foldlog('z')")
        assert [event["name"] for event in await has(site, 2)] == ["pageview", "z"]


@long
async def test_clicks_that_lead_away_or_have_a_name_are_events(tmp_path: Path) -> None:
    body = """
      <a id="out" href="http://127.0.0.1:9/x?secret=1">out</a> <a id="mail" href="mailto:a@example.com">mail</a>
      <a id="file" href="/list.pdf?key=2">list</a> <a id="saved" href="/x" download><b id="inner">save</b></a>
      <button id="buy" data-foldlog-event="buy" data-foldlog-value="9.5" data-foldlog-prop-plan="pro">buy</button>
      <svg id="drawn"><a href="/x"><text id="word">x</text></a></svg>
      <script>addEventListener("click", (event) => event.preventDefault())</script>"""
    async with visiting(tmp_path, body=body) as (site, page):
        for selector in ("#out", "#mail", "#file", "#inner", "#buy"):
            await page.click(selector)
        await page.evaluate(
            "document.querySelector('#word').dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
        )
        await page.evaluate("document.dispatchEvent(new MouseEvent('click'))")
        events = [(event["name"], event.get("props"), event.get("value")) for event in await has(site, 5)]
        assert events[1:] == [
            ("outbound", {"url": "http://127.0.0.1:9/x"}, None),
            ("download", {"url": site.url("/list.pdf")}, None),
            ("download", {"url": site.url("/x")}, None),
            ("buy", {"plan": "pro"}, 9.5),
        ]
        assert page.complaints == []


@long
async def test_links_are_left_alone_where_the_page_says_so(tmp_path: Path) -> None:
    async with visiting(tmp_path, 'data-links="off"', '<a href="/list.pdf" onclick="return false">x</a>') as (
        site,
        page,
    ):
        await page.click("a")
        await has(site, 1)


@long
async def test_time_in_sight_is_sent_when_the_page_is_left(tmp_path: Path) -> None:
    # The test moves the clock of the page, and does not wait for it.
    before = "let hours = 1; performance.now = () => 36e5 * hours; Document.prototype.hasFocus = () => true;"
    async with visiting(tmp_path, "data-engaged", before=before) as (site, page):
        await has(site, 1)
        await page.evaluate("hours++; history.pushState(0, '', '/b')")
        events = await has(site, 3)
        assert [(event["name"], event.get("value")) for event in events] == [
            ("pageview", None),
            ("engaged", 3600),
            ("pageview", None),
        ]
        assert paths(site, events) == ["/", "/", "/b"]
        await page.evaluate("hours += 2")
        await page.open("about:blank")
        last = (await has(site, 4))[3]
        assert (last["name"], last["value"], paths(site, [last])) == ("engaged", 7200, ["/b"])


@long
async def test_time_in_sight_is_sent_at_each_hiding_and_not_twice(tmp_path: Path) -> None:
    before = """
        let hours = 1, hidden = false;
        performance.now = () => 36e5 * hours;
        Document.prototype.hasFocus = () => true;
        Object.defineProperty(Document.prototype, "hidden", { get: () => hidden });
        const turn = (to) => { hidden = to; document.dispatchEvent(new Event("visibilitychange")); };"""
    async with visiting(tmp_path, "data-engaged", before=before) as (site, page):
        await has(site, 1)
        await page.evaluate("hours += 2; turn(true)")
        assert (await has(site, 2))[1]["value"] == 7200
        await page.evaluate("hours += 5; turn(false)")  # out of sight
        await has(site, 2)
        await page.evaluate("hours += 1; turn(true); turn(true)")
        assert [event.get("value") for event in await has(site, 3)] == [None, 7200, 3600]


REFUSED: dict[str, tuple[int, dict[str, str], str]] = {
    "consent": (403, {}, PROBLEM % "consent"),
    "prerender": (403, {}, PROBLEM % "prerender"),
    "origin": (403, {}, PROBLEM % "origin"),
    "own traffic": (403, {}, PROBLEM % "excluded_network"),
    "malformed": (400, {}, PROBLEM % "malformed"),
    "rejected": (422, {}, '{"accepted":0,"rejected":[{"index":0,"code":"name_type"}]}'),
    "of a proxy": (404, {}, "<html>"),
    "adjusted": (200, {}, '{"accepted":1,"rejected":[],"adjusted":[{"index":0,"field":"url","code":"url_cut"}]}'),
}


@long
async def test_refusal_is_final_and_is_said_in_the_console(tmp_path: Path) -> None:
    async with visiting(tmp_path, AGREED) as (site, page):
        await has(site, 1)
        for count, (name, answer) in enumerate(REFUSED.items(), 2):
            site.answers = [answer]
            await page.evaluate(f"foldlog('{name}')")
            await has(site, count)
        assert await page.evaluate("localStorage.length") == 0
        assert len(page.complaints) == len(REFUSED) - 2  # all but what is no JSON, and what was stored


@long
@pytest.mark.parametrize("status", [429, 500, 503, 507])
async def test_busy_server_is_asked_again_when_it_said(tmp_path: Path, status: int) -> None:
    async with visiting(tmp_path, AGREED) as (site, page):
        await has(site, 1)
        site.answers = [(status, {"Retry-After": "5"}, PROBLEM % "busy")]
        await page.evaluate("foldlog('x')")
        await has(site, 2)
        await page.evaluate("foldlog('y')")  # waits as well
        await page.open(site.url("/b"))  # also on the next page
        await has(site, 2)
        await until_async(lambda: len(site.batches) >= 3)
        again = site.batches[2]
        assert again["sent_at"] - site.batches[1]["sent_at"] >= 5000
        assert sorted(event["name"] for event in again["events"]) == ["pageview", "x", "y"]
        assert site.batches[1]["events"][0] in again["events"]  # the same id and time


@long
async def test_answer_that_asks_for_ages_is_asked_again_after_an_hour(tmp_path: Path) -> None:
    before = "const timers = []; const set = setTimeout; setTimeout = (run, ms) => (timers.push(ms), set(run, ms))"
    async with visiting(tmp_path, before=before) as (site, page):
        await has(site, 1)
        site.answers = [(503, {"Retry-After": "999999999999"}, PROBLEM % "busy")]
        await page.evaluate("foldlog('x')")
        await has(site, 2)
        assert 36e5 <= await page.evaluate("Math.max(...timers)") < 2**31


@long
async def test_what_a_page_holds_and_keeps_is_bounded(tmp_path: Path) -> None:
    async with visiting(tmp_path, AGREED) as (site, page):
        await has(site, 1)
        site.answers = [(503, {"Retry-After": "9"}, PROBLEM % "busy")]
        await page.evaluate("foldlog('x')")
        await has(site, 2)
        await page.evaluate("for (let i = 0; i < 9999; i++) foldlog('y', { props: { text: 'z'.repeat(2000) } })")
        assert 20 < await page.evaluate("localStorage.length") < 50
        assert await page.evaluate("Object.values(localStorage).join('').length") < 51_000
        await until_async(lambda: len(site.events) >= 52)
        assert max(len(batch["events"]) for batch in site.batches) < 30
        assert len(await has(site, 52)) == 52  # the view, the first try of x, and the fifty that were held


@long
async def test_event_that_cannot_be_sent_costs_no_other(tmp_path: Path) -> None:
    values = ("null", "7", "{", '{"id":{}}', '{"id":"4","time":1}', '{"id":"other","time":9e15}')
    stored = "".join(f"localStorage['foldlog:{at}'] = '{value}';" for at, value in enumerate(values))
    stored += 'localStorage.foldlog = \'{"events":[null,7]}\'; localStorage.theirs = "{";'
    async with visiting(tmp_path, AGREED, before=stored) as (site, page):
        await has(site, 1)
        await page.evaluate("const round = {}; round.round = round; foldlog('x', { props: round })")
        await page.evaluate("foldlog('x', { props: { n: 1n } }); foldlog('x', { props: { text: 'ä'.repeat(40000) } })")
        await page.evaluate("foldlog('y')")
        assert [event["name"] for event in await has(site, 2)] == ["pageview", "y"]
        assert len(page.complaints) == 3
        assert await page.evaluate("Object.keys(localStorage).join()") == "theirs"


@long
async def test_page_that_calls_before_the_script_loses_nothing(tmp_path: Path) -> None:
    stub = "Object.assign((...event) => foldlog.q.push(event), { q: [], consent: (yes) => (foldlog.said = yes) })"
    before = f"window.foldlog = {stub}; foldlog('early', {{ value: 1 }}); foldlog.consent(true)"
    async with visiting(tmp_path, TO_WAIT, before=before) as (site, _):
        assert [event["name"] for event in await has(site, 2)] == ["pageview", "early"]


def documented(word: str) -> str:
    """The script tag of docs/tracker.md that has this word."""
    (found,) = [block for block in fenced(page("docs/tracker.md"), "html") if word in block]
    return found


@long
@pytest.mark.parametrize(
    ("platform", "says_no", "says_yes"),
    [
        ("Cookiebot", "Cookiebot = { consent: { statistics: false } }", "Cookiebot.consent.statistics = true"),
        ("OneTrust", "OnetrustActiveGroups = ',C0001,'", "OnetrustActiveGroups = ',C0001,C0002,'"),
    ],
)
async def test_documented_platform_is_heard(tmp_path: Path, platform: str, says_no: str, says_yes: str) -> None:
    tell = {"Cookiebot": "CookiebotOnConsentReady", "OneTrust": "OneTrustGroupsUpdated"}[platform]
    tag = f"<script defer {SCRIPT} {TO_WAIT}></script>"
    html = documented("foldlog.said") + documented(tell) + f"<script>{says_no}; foldlog('early')</script>{tag}"
    async with serving(html) as site, browse(tmp_path / "profile", "UTC") as shown:
        await shown.open(site.url())
        await has(site, 0)
        await shown.evaluate(f"dispatchEvent(new Event('{tell}'))")
        await has(site, 0)
        await shown.evaluate(f"{says_yes}; dispatchEvent(new Event('{tell}'))")
        assert [event["name"] for event in await has(site, 1)] == ["pageview"]
        assert shown.complaints == []


@long
async def test_documented_service_of_klaro_is_heard(tmp_path: Path) -> None:
    """Klaro calls the callback of a service at each load and at each change."""
    (services,) = [block for block in fenced(page("docs/tracker.md"), "js") if "services:" in block]
    stub = documented("foldlog.said").replace("</script>", f"const config = {{ {services} }};</script>")
    tag = f"<script defer {SCRIPT} {TO_WAIT}></script>"
    said = "<script>config.services[0].callback(false); foldlog('early')</script>"
    async with serving(stub + said + tag) as site, browse(tmp_path / "profile", "UTC") as shown:
        await shown.open(site.url())
        await has(site, 0)
        await shown.evaluate("config.services[0].callback(true)")
        assert [event["name"] for event in await has(site, 1)] == ["pageview"]
        await shown.evaluate("config.services[0].callback(false); foldlog('late')")
        await has(site, 1)
        assert shown.complaints == []


@long
async def test_second_script_in_a_page_does_nothing(tmp_path: Path) -> None:
    async with visiting(tmp_path, body=f"<script {SCRIPT}></script>") as (site, _):
        await has(site, 1)


@long
async def test_page_without_storage_counts(tmp_path: Path) -> None:
    before = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied') } })"
    async with visiting(tmp_path, AGREED, before=before) as (site, page):
        await page.evaluate("foldlog.ignore(false); foldlog('x')")
        await has(site, 2)
        assert page.complaints == []
