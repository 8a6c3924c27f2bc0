"""The dashboard in a browser, as an operator uses it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.builders.browser import Page, browse
from tests.builders.server import ADMIN_TOKEN, Server

# An agent that is no browser's would be counted as a bot.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
# Half an hour off UTC, so that an hour of the wrong zone is nowhere an hour of the
# right one.
ZONE = "Asia/Kolkata"


@asynccontextmanager
async def visit(server: Server, tmp_path: Path, query: str = "") -> AsyncIterator[Page]:
    """The dashboard in a new browser, before signing in. Nothing that it does may be an
    error or against its policy.
    """
    async with browse(tmp_path / "profile", ZONE) as page:
        await page.open(f"http://{server.host}/admin/{query}")
        yield page
        assert page.complaints == []


def post(server: Server, *events: dict[str, Any]) -> None:
    """As a page of the server's own origin sends them."""
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


async def shown(page: Page) -> None:
    """Wait until every panel has its answer."""
    place = "document.querySelector('#dashboard')"
    await page.until(f"{place}?.hidden === false && {place}.ariaBusy === 'false'")


async def screen(page: Page, width: int, scheme: str = "light", height: int = 900, *, motion: bool = True) -> None:
    """A screen of so many pixels in a colour scheme; below 500 that of a phone."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    await page.send("Emulation.setDeviceMetricsOverride", **size)
    reduced = "no-preference" if motion else "reduce"
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": reduced}
    named = [{"name": name, "value": value} for name, value in features.items()]
    await page.send("Emulation.setEmulatedMedia", features=named)


async def cells(page: Page, table: str) -> list[list[str]]:
    """The text of a table, row by row, without its head; also while it is closed."""
    rows = f"[...document.querySelector('{table}').tBodies[0].rows]"
    return list(await page.evaluate(f"{rows}.map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"))


async def number(page: Page, measure: str) -> str:
    return await page.text(f"[data-measure={measure}] .number")


async def pick(page: Page, table: str, value: str) -> None:
    """Click on a value of a table."""
    buttons = f"[...document.querySelectorAll('{table} .pick')]"
    await page.evaluate(f"{buttons}.find((each) => each.innerText === {json.dumps(value)}).click()")
