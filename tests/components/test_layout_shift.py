"""What is on the page does not move while its numbers come.

The browser itself says by how much it did, as https://web.dev/articles/cls describes
it; what moves within half a second after a click is what the click asked for, and does
not count. Every answer takes longer than that here, and none as long as another.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.builders.browser import Page, browse, chromium
from tests.builders.dashboard_page import ZONE, post, screen, shown, view
from tests.builders.server import ADMIN_TOKEN, Server

SHIFT_MOST = 0.02
HEIGHT = 844
SLOW_ANSWERS = """
    sessionStorage.setItem("foldlog.token", TOKEN);
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const { value, hadRecentInput, sources } of list.getEntries())
        if (!hadRecentInput)
          shifts.push([value, ...sources.map(({ node, previousRect, currentRect }) =>
            `${node?.id || node?.className || node?.nodeName} from ${previousRect.y} to ${currentRect.y}`)]);
    }).observe({ type: "layout-shift", buffered: true });
    const honest = window.fetch;
    let asked = 0;
    window.fetch = async (...question) => {
      const answer = await honest(...question);
      await new Promise((ready) => setTimeout(ready, 600 + (asked++ % 7) * 40));
      return answer;
    };
"""

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three days of events, more values than a panel shows, and one longer than it."""
    chromium()
    with Server(tmp_path_factory.mktemp("server")) as started:
        for hour in range(1, 70, 4):
            at = (datetime.now(UTC) - timedelta(hours=hour)).isoformat()
            pages = [*(f"/page-{number}" for number in range(hour % 14)), "/" + "long" * 40]
            seen = [
                view(started, path, f"v-{hour}", time=at, referrer=f"https://{hour}.example.org/") for path in pages
            ]
            post(started, *seen, {"name": "order", "visitor": f"v-{hour}", "value": 12.5, "time": at})
        started.fold()
        yield started


@pytest.mark.parametrize("width", [1280, 390])
async def test_nothing_moves_while_numbers_come(server: Server, tmp_path: Path, width: int) -> None:
    """The first load, another period, a filter by a click and its removal; the panels
    are skeletons of what they will be.
    """
    async with browse(tmp_path / "profile", ZONE) as page:
        await screen(page, width, height=HEIGHT)
        await page.before_each_document(SLOW_ANSWERS.replace("TOKEN", json.dumps(ADMIN_TOKEN)))
        await page.open(f"http://{server.host}/admin/")
        assert await page.evaluate("document.querySelectorAll('.loading').length") > 5
        assert await moved(page) == []
        await page.press("#period input[value='today'] + span")
        assert await moved(page) == []
        await page.press("#top-pages .pick")
        assert await moved(page) == []
        await page.press("#chips button")
        assert await moved(page) == []
        assert page.complaints == []


async def moved(page: Page) -> list[object]:
    """What moved until all numbers were there; nothing where that was next to
    nothing.
    """
    await page.until("document.querySelector('#dashboard').ariaBusy === 'true'")
    await shown(page)
    await asyncio.sleep(1.5)  # the live numbers, and what the browser still has to paint
    shifts = await page.evaluate("shifts.splice(0)")
    return list(shifts) if sum(shift[0] for shift in shifts) > SHIFT_MOST else []
