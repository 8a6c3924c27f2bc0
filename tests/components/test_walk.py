"""The stranger's walk: what people in marketing, developers and operators ask first,
each answered on the page of a demo by clicks alone, and checked against the API.

docs/dashboard.md lists the same questions with their clicks. A walk begins with
yesterday's numbers, which do not change meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.tokens import create_token
from tests.builders.browser import Page, browse, chromium
from tests.builders.dashboard_page import cells, screen, shown
from tests.builders.demo import Demo
from tests.builders.pages import ROOT
from tests.builders.server import bearer
from tests.builders.waiting import TIMEOUT_S

ZONE = "Europe/Berlin"
SITE = "shop.localhost"

pytestmark = [pytest.mark.component, pytest.mark.long]


@dataclass
class Walk:
    """One page of one demo: what is clicked on it, what it says, and what the API
    says.
    """

    demo: Demo
    page: Page
    files: Path
    token: str = ""
    clicks: int = 0
    status: dict[str, Any] = field(default_factory=dict)

    def api(self, path: str, **asked: str) -> Any:
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        answer = self.demo.request("GET", f"/admin/api/{path}?{query}", headers=bearer(self.token))
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def yesterday(self, **asked: str) -> Any:
        day = str(datetime.now(ZoneInfo(ZONE)).date() - timedelta(days=1))
        return self.api("report", **{"from": day, "to": day, "tz": ZONE} | asked)

    def total(self, measure: str, **asked: str) -> Any:
        return self.yesterday(measures=measure, **asked)["total"][measure]

    async def begin(self) -> None:
        """With a token of its own: on a fast machine thirty would ask more in a minute
        than one token may.
        """
        self.token = create_token(self.demo.data, "admin")[1]
        await self.page.before_each_document(f"sessionStorage.setItem('foldlog.token', {json.dumps(self.token)})")
        self.clicks, self.status = 0, self.api("status")
        await self.page.open(f"http://127.0.0.1:{self.demo.port}/admin/?period=yesterday")
        await shown(self.page)

    async def click(self, selector: str) -> None:
        """And wait for what it asks."""
        self.clicks += 1
        await self.page.press(selector)
        await asyncio.sleep(0.1)
        await shown(self.page)

    async def choose(self, selector: str, value: str) -> None:
        """One of a list: a click, as a choice with the mouse is one after the list has
        opened.
        """
        self.clicks += 1
        change = "dispatchEvent(new Event('change'))"
        place = f"document.querySelector('{selector}')"
        await self.page.evaluate(f"{place}.value = '{value}', {place}.{change}")
        await asyncio.sleep(0.1)
        await shown(self.page)

    async def number(self, measure: str) -> str:
        """The exact one, as it stands where the pointer rests."""
        title = await self.page.evaluate(f"document.querySelector('[data-measure={measure}] .number').title")
        return str(title).split(": ")[-1]

    async def first(self, panel: str) -> list[str]:
        """The exact numbers of the first row of a panel."""
        cells = f"[...document.querySelector('#top-{panel} tbody tr').cells]"
        return list(await self.page.evaluate(f"{cells}.slice(1).map((cell) => cell.title)"))

    async def tab(self, panel: str, label: str) -> None:
        tabs = f"[...document.querySelectorAll('[data-panel={panel}] [role=tab]')]"
        await self.page.evaluate(f"{tabs}.find((tab) => tab.innerText === '{label}').id = 'wanted-tab'")
        await self.click("#wanted-tab")

    def top(self, dimension: str, **asked: str) -> list[str]:
        """What `first` should say."""
        row = self.yesterday(by=dimension, measures="visitors,events", limit="9", **asked)["rows"][0]
        return [said(row["visitors"]), said(row["events"])]

    async def opened(self, selector: str) -> None:
        await self.click(f"{selector} > summary")


def said(number: float) -> str:
    return f"{number:,.2f}".rstrip("0").rstrip(".")


async def how_many_visitors(walk: Walk) -> None:
    assert await walk.number("visitors") == said(walk.total("visitors"))
    assert re.fullmatch(r"[+-]?[\d,]+%", await walk.page.text("[data-measure=visitors] .change"))


def top_of(panel: str, dimension: str, tab: str = "") -> Callable[[Walk], Awaitable[None]]:
    async def first_row(walk: Walk) -> None:
        if tab:
            await walk.tab(panel, tab)
        assert await walk.first(panel) == walk.top(dimension)

    return first_row


async def campaign(walk: Walk) -> None:
    named = "[...document.querySelectorAll('#top-campaigns .pick')].find((each) => each.innerText !== '(none)')"
    name = await walk.page.evaluate(f"{named}.innerText")
    await walk.page.evaluate(f"{named}.id = 'wanted'")
    await walk.click("#wanted")
    assert await walk.number("visitors") == said(walk.total("visitors", filter=f"utm_campaign=={name}"))


async def goal(walk: Walk) -> None:
    rows = await cells(walk.page, "#top-goals")
    assert [row[1] for row in rows if row[0] == "order"] == [said(walk.total("visitors", filter="event==order"))]


async def sold(walk: Walk) -> None:
    assert await walk.number("value_sum") == said(walk.total("value_sum"))


async def country_of_buyers(walk: Walk) -> None:
    await walk.page.evaluate(
        "[...document.querySelectorAll('#top-goals .pick')].find((each) => each.innerText === 'order').id = 'wanted'"
    )
    await walk.click("#wanted")
    assert await walk.first("places") == walk.top("country", filter="event==order")


async def funnel(walk: Walk) -> None:
    await walk.opened("#funnel")
    for number, step in enumerate(("path==/teas", "event==order"), start=1):
        await walk.page.fill(f"#funnel-steps label:nth-child({number}) input", step)
    day = walk.yesterday(measures="events")["from"][:10]
    asked = {"from": day, "to": day, "tz": ZONE, "steps": "path==/teas;;event==order", "window": "7d"}

    def wanted() -> list[str]:
        return [said(step["visitors"]) for step in walk.api("funnel", **asked)["steps"]]

    # Visitors of yesterday may order today, while this asks.
    before = wanted()
    await walk.click("#funnel-form button[type=submit]")
    await walk.page.until("document.querySelectorAll('#funnel-body tbody tr').length === 2")
    assert [row[1] for row in await cells(walk.page, "#funnel-body")] in (before, wanted())


async def snippet(walk: Walk) -> None:
    await walk.opened("#snippet")
    assert f'<script src="http://127.0.0.1:{walk.demo.port}/tracker.js"' in await walk.page.text("#snippet-code")


def arrives(events: list[dict[str, str]], mark: str) -> Callable[[Walk], Awaitable[None]]:
    async def stream(walk: Walk) -> None:
        await walk.opened("#stream")
        wanted = json.dumps(mark)
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        while not await walk.page.evaluate(f"document.querySelector('#stream-rows').innerText.includes({wanted})"):
            assert asyncio.get_running_loop().time() < deadline
            headers = {"Origin": f"http://{SITE}:{walk.demo.port}", "Content-Type": "application/json"}
            body = json.dumps({"events": events, "consent": "granted"}).encode()
            walk.demo.request("POST", "/v1/events", body, headers | {"Host": f"{SITE}:{walk.demo.port}"})
            await asyncio.sleep(0.5)

    return stream


async def by_the_hour(walk: Walk) -> None:
    await walk.click("[data-measure=events]")
    assert await walk.page.text("#chart-title") == "Events by hour"
    rows = await cells(walk.page, "#chart-panel table.values")
    assert sum(int(row[1].replace(",", "")) for row in rows) == walk.total("events")


async def one_event(walk: Walk) -> None:
    rows = await cells(walk.page, "#top-events")
    assert [row[2] for row in rows if row[0] == "add_to_cart"] == [
        said(walk.total("events", filter="event==add_to_cart"))
    ]


async def bots(walk: Walk) -> None:
    await walk.opened("#toolbar .menu")
    await walk.choose("#bots", "only")
    total = walk.total("events", bots="only")
    # No bot came yesterday: then it says so instead of numbers.
    is_empty = await walk.page.evaluate("!document.querySelector('#empty').hidden")
    assert is_empty if total == 0 else await walk.number("events") == said(total)


async def spreadsheet(walk: Walk) -> None:
    await walk.page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(walk.files))
    await walk.page.evaluate(
        "[...document.querySelectorAll('[data-panel=pages] .foot button')].find((each) => each.innerText === 'CSV').id"
        " = 'wanted'"
    )
    await walk.click("#wanted")
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    while not (found := list(walk.files.glob("pages-path-*.csv"))):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)
    assert len(found[0].read_text("utf-8-sig").splitlines()) > 9


async def adds_up(walk: Walk) -> None:
    assert walk.status["balance"]["difference"] == 0
    assert await walk.page.text("#verdict") == "It adds up: no accepted event is missing."


async def in_the_strip(walk: Walk) -> None:
    strip = await walk.page.text("#strip")
    assert re.fullmatch(r"[\d,]+ events counted · [\d,]+ waiting · [\d.,]+ [KMGT]iB free", strip)
    assert int(strip.split(" ")[0].replace(",", "")) >= walk.status["balance"]["counted"]


async def as_of(walk: Walk) -> None:
    assert re.match(r"As of \d+ \w+ \d{4}, \d\d:\d\d\. Times are in Europe/Berlin\.", await walk.page.text("#as-of"))


def in_health(place: str, *path: str) -> Callable[[Walk], Awaitable[None]]:
    """A number that only grows while the demo runs."""

    async def health(walk: Walk) -> None:
        await walk.opened("#health")
        shown_number = int((await walk.page.text(place)).replace(",", ""))
        after = walk.api("status")
        for name in path[:-1]:
            walk.status, after = walk.status[name], after[name]
        assert walk.status[path[-1]] <= shown_number <= after[path[-1]]

    return health


async def open_access(walk: Walk) -> None:
    await walk.opened("#access")
    await walk.page.until("document.querySelectorAll('#access-body table').length === 2")


async def token_for_a_script(walk: Walk) -> None:
    await open_access(walk)
    await walk.choose("#token-form [name=scope]", "ingest")
    await walk.click("#token-form button[type=submit]")
    await walk.page.until("document.querySelector('.made code')")
    secret = await walk.page.text(".made code")
    body = json.dumps(
        {"events": [{"name": "by_a_script", "url": f"http://{SITE}/script"}], "consent": "granted"}
    ).encode()
    headers = bearer(secret) | {"Content-Type": "application/json"}
    assert walk.demo.request("POST", "/v1/events", body, headers).status == 200


async def who_has_a_token(walk: Walk) -> None:
    await open_access(walk)
    rows = await cells(walk.page, "#access-body section:first-child table")
    tokens = walk.api("tokens")["tokens"]
    assert [row[0] for row in rows] == [each["id"] for each in tokens]
    used = {each["id"]: each["last_used"] for each in tokens if each["last_used"]}
    assert any(row[4] == used.get(row[0], "")[:10] for row in rows), "those of walks before were used"


async def share_link(walk: Walk) -> None:
    await open_access(walk)
    for name, text in (("site", SITE), ("name", "For the agency")):
        await walk.page.fill(f"#share-link-form [name={name}]", text)
    await walk.click("#share-link-form button[type=submit]")
    await walk.page.until("document.querySelector('.made code')")
    (link,) = walk.api("shares")["shares"]
    assert (link["site"], link["name"]) == (SITE, "For the agency")
    assert f"/share/{link['id']}#" in await walk.page.text(".made code")


async def erasure(walk: Walk) -> None:
    """Of a visitor whose two events are counted."""
    gone = {"name": "pageview", "url": f"http://{SITE}/gone", "visitor": "visitor-of-the-walk"}
    headers = {"Origin": f"http://{SITE}:{walk.demo.port}", "Content-Type": "application/json"}
    body = json.dumps({"events": [gone, gone | {"name": "left"}], "consent": "granted"}).encode()
    sent = walk.demo.request("POST", "/v1/events", body, headers | {"Host": f"{SITE}:{walk.demo.port}"})
    assert sent.status == 200, sent
    assert walk.demo.request("POST", "/admin/api/fold", headers=bearer(walk.token)).status == 200
    await walk.opened("#erasure")
    await walk.page.fill("#erasure-form [name=visitor]", gone["visitor"])
    await walk.click("#erasure-form button")
    await walk.page.until("document.querySelector('#erasure-said').innerText.includes('2 events')")
    assert walk.api(f"visitors/{gone['visitor']}")["events"] == 2
    await walk.page.fill("#erasure-confirm [name=again]", gone["visitor"])
    await walk.click("#erasure-confirm button")
    await walk.page.until("document.querySelector('#erasure-state').innerText.startsWith('Erased: 2 events')")
    assert walk.api(f"visitors/{gone['visitor']}")["events"] == 0


async def holds(walk: Walk) -> None:
    assert walk.status["last_retention"]["on_hold"] == {}
    assert await walk.page.text("#holds-count") == "none"


async def findings(walk: Walk) -> None:
    await walk.opened("#doctor")
    await walk.page.until("document.querySelector('#doctor-body details')")
    found = walk.api("doctor")["findings"]
    items = "[...document.querySelectorAll('#doctor-body li')]"
    checks = await walk.page.evaluate(f"{items}.map((each) => each.querySelector('b').textContent)")
    assert sorted(checks) == sorted(each["check"] for each in found)
    to_do = await walk.page.evaluate(f"{items}.filter((each) => each.textContent.includes('To do: ')).length")
    assert to_do == sum(bool(each["do"]) for each in found)


async def count_now(walk: Walk) -> None:
    await walk.opened("#toolbar .menu")
    await walk.click("#fold")
    await walk.page.until("document.querySelector('#message').innerText.startsWith('Folded')")


QUESTIONS: dict[str, Callable[[Walk], Awaitable[None]]] = {
    # marketing
    "How many visitors came, and is that more than before?": how_many_visitors,
    "Which page is read most?": top_of("pages", "path"),
    "Where do visitors come from?": top_of("sources", "source"),
    "Which channel brings most of them?": top_of("sources", "channel", "Channels"),
    "How many came by one campaign?": campaign,
    "How many reached the goal?": goal,
    "What was sold?": sold,
    "From which country are those who bought?": country_of_buyers,
    "On which page do visits begin?": top_of("pages", "entry", "Entry"),
    "How many of those who saw one page bought later?": funnel,
    # developers
    "What do I put into my pages?": snippet,
    "Does my event arrive?": arrives([{"name": "walked", "url": f"http://{SITE}/walk"}], "walked"),
    "Why is my event refused?": arrives([{"name": "", "url": f"http://{SITE}/walk"}], "(name)"),
    "How often was one event sent?": one_event,
    "Which browser do they use?": top_of("devices", "browser", "Browsers"),
    "How does a script of mine send events?": token_for_a_script,
    "How many use a phone?": top_of("devices", "device"),
    "How many events came in each hour?": by_the_hour,
    "How much is from bots?": bots,
    "Can I have a panel as a file?": spreadsheet,
    # operators
    "Is every accepted event counted?": adds_up,
    "How many wait, and how much room is left?": in_the_strip,
    "Up to when do the numbers go?": as_of,
    "Could something not be read?": in_health("[data-count='balance.quarantined']", "balance", "quarantined"),
    "Who has a token, and was it used?": who_has_a_token,
    "Show one site to people without a token": share_link,
    "Erase one visitor": erasure,
    "Does a deletion wait for my answer?": holds,
    "What would go wrong on this host?": findings,
    "Count at once what has arrived": count_now,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    chromium()
    with Demo(tmp_path_factory.mktemp("demo") / "tmp", "--days", "4") as started:
        yield started


@pytest.mark.timeout(1200)  # thirty pages, each asked as a whole
async def test_every_question_is_answered_with_as_many_clicks_as_the_docs_say(demo: Demo, tmp_path: Path) -> None:
    clicks = {}
    async with browse(tmp_path / "profile", ZONE) as page:
        await screen(page, 1280)
        walk = Walk(demo, page, tmp_path)
        for question, answered in QUESTIONS.items():
            await walk.begin()
            try:
                await answered(walk)
            except AssertionError as error:
                error.add_note(question)
                raise
            clicks[question] = walk.clicks
        assert page.complaints == []
    assert clicks == in_docs()


def in_docs() -> dict[str, int]:
    """The clicks of each question in docs/dashboard.md."""
    text = (ROOT / "docs" / "dashboard.md").read_text("utf-8").partition("## Thirty questions")[2]
    return {found[1]: int(found[2]) for found in re.finditer(r"^\| ([^|]+?) \| [^|]+ \| (\d) \|$", text, re.MULTILINE)}
