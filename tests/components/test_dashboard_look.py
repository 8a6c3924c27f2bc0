"""How the page looks with values and errors that are not the usual ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.builders.browser import Page, chromium
from tests.builders.dashboard_page import screen, shown, sign_in, view, visit
from tests.builders.server import Server

SITES = [
    f"{name}{number}.example.com"
    for number in range(10)
    for name in ("shop", "the-long-name-of-a-customer-and-its-site")
]
HEBREW, ARABIC, LONG = "/שלום/עולם", "/مرحبا/بالعالم", "/" + "very-long-path/" * 20
CAMPAIGNS = ["מבצע חורף 2026", "حملة الشتاء (50%)", "spring" + "-sale" * 40]
SAID_OF_NO_GOALS = "getComputedStyle(document.querySelector('#top-goals tbody'), '::after').content"
# Rows in which a name and its arrow are not on one line.
BROKEN_ROWS = """[...document.querySelectorAll('.panel tbody th')].filter((head) => {
  const [pick, way] = [head.querySelector('.pick'), head.querySelector('.way')];
  return way && way.getBoundingClientRect().top > pick.getBoundingClientRect().bottom - 4;
}).map((head) => head.textContent)"""

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Twenty sites, values from right to left, long ones."""
    chromium()
    with Server(tmp_path_factory.mktemp("server"), durability="os", sites=",".join(SITES)) as started:
        at = datetime.now(UTC) - timedelta(hours=2)
        events: list[dict[str, Any]] = []
        for place, site in enumerate(SITES):
            campaign = quote(CAMPAIGNS[place % len(CAMPAIGNS)])
            for path in (HEBREW, ARABIC, LONG, "/pricing"):
                url = f"https://{site}{path}?utm_campaign={campaign}"
                events.append(view(started, path, f"v-{place}", time=at.isoformat()) | {"url": url})
            events.append({"name": "הרשמה", "url": f"https://{site}/", "visitor": f"v-{place}", "value": 1_234_567.89})
        assert started.post(events).status in {200, 202}
        started.fold()
        yield started


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (768, "dark"), (390, "light"), (320, "dark")])
async def test_values_of_every_kind_fit_on_every_screen(
    server: Server, tmp_path: Path, width: int, scheme: str
) -> None:
    """The document is never wider than the screen, a row of a panel is one line, what
    is cut off is whole in its title, values have their own direction, and a number that
    is written short has every digit in its title.
    """
    other = [quote("/" + "other/" * 40), quote("/אחר")]
    query = f"?filter=path!={other[0]}&filter=path!={other[1]}&at={quote(HEBREW)}&tab.sources=utm_campaign"
    async with visit(server, tmp_path, query) as page:
        await screen(page, width, scheme)
        await sign_in(page)
        await shown(page)
        await page.evaluate(
            "document.querySelectorAll('#report details, #paths').forEach((each) => { each.open = true }); 0"
        )
        await page.until("document.querySelector('#paths-before tbody tr')")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(BROKEN_ROWS) == []
        picks = "[...document.querySelectorAll('#top-pages .pick')]"
        assert f"Only {LONG}" in await page.evaluate(f"{picks}.map(({{title}}) => title)")
        assert await page.evaluate(f"{picks}.every((each) => each.firstElementChild.localName === 'bdi')")
        assert await page.evaluate(
            "[...document.querySelectorAll('.chip b')].every((each) => each.querySelector('bdi'))"
        )
        assert "24,691,357.8" in await page.evaluate("document.querySelector('[data-measure=value_sum] .number').title")
        longest = "(each) => { each.textContent = '22m 15s'; return each.scrollWidth <= each.clientWidth }"
        assert await page.evaluate(f"[...document.querySelectorAll('.total .number')].every({longest})")
        numbers = "[...document.querySelectorAll('.panel:not([data-panel=goals]) tbody td')]"
        assert await page.evaluate(f"{numbers}.length > 8 && {numbers}.every(({{title}}) => /^[\\d,.]+$/.test(title))")


async def test_nothing_moves_for_those_who_ask_for_that(server: Server, tmp_path: Path) -> None:
    """Also not while it waits for its first numbers."""
    async with visit(server, tmp_path) as page:
        moves = "document.querySelectorAll('.loading').length > 0 && document.getAnimations().length > 0"
        await page.evaluate("for (const id of ['dashboard', 'report']) document.getElementById(id).hidden = false; 0")
        await screen(page, 1280, motion=True)
        await page.until(moves)
        await screen(page, 1280, motion=False)
        await page.until("document.getAnimations().length === 0")
        durations = "[...document.querySelectorAll('*')].map((each) => getComputedStyle(each).transitionDuration)"
        assert await page.evaluate(f"[...new Set({durations})]") == ["0s"]


async def test_a_wrong_filter_is_told_once_with_what_to_do(server: Server, tmp_path: Path) -> None:
    """Not a long list of dimensions in each panel, with a button that cannot help; once
    it is removed there are numbers.
    """
    async with visit(server, tmp_path, "?filter=path") as page:
        await sign_in(page)
        await shown(page)
        assert "remove it above" in await page.text("#message")
        assert await page.evaluate("document.querySelectorAll('.problem button').length") == 0
        assert await page.evaluate(SAID_OF_NO_GOALS) == '""'
        assert await texts(page, ".panel .problem") == {"No answer: a filter above cannot be asked."}
        await page.click("#chips button")
        await page.until("!document.querySelector('.problem') && document.querySelector('#top-pages .pick')")
        assert await page.text("#message") == ""


async def test_a_page_without_its_server_says_that_its_numbers_are_older(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        await page.evaluate("window.fetch = async () => { throw new TypeError('refused') }; 0")
        await page.click("#period input[value='7d']")
        await page.until("document.querySelector('#message').innerText.includes('numbers are those of before')")
        assert "tries again every minute" in await page.text("#message")


async def test_a_place_for_goals_says_that_there_are_none(server: Server, tmp_path: Path) -> None:
    """And has nothing to save."""
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        assert await page.evaluate(SAID_OF_NO_GOALS) == '"No goals yet"'
        buttons = "[...document.querySelectorAll('[data-panel=goals] .foot button')]"
        assert await page.evaluate(f"{buttons}.length === 2 && {buttons}.every(({{hidden}}) => hidden)")


async def texts(page: Page, selector: str) -> set[str]:
    return set(
        await page.evaluate(f"[...document.querySelectorAll('{selector}')].map((each) => each.innerText.trim())")
    )
