"""The dashboard without a mouse, and as a screen reader has it: each control is
reached, seen and named, and a dialog gives the focus back.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders.browser import Page, chromium
from tests.builders.dashboard_page import post, screen, shown, sign_in, view, visit
from tests.builders.server import Server

pytestmark = [pytest.mark.component, pytest.mark.long]

KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37}
SHIFT = 8
# More than the page has controls.
PRESSES_MAX = 400
# What can have the focus, and is seen. Of tabs in a row, and of choices of which one is
# taken, one has a place in the order.
CONTROLS = """
    window.controls = () => [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
      .filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0)
      .filter((each) => each.type !== "radio" || each.checked);
    window.described = (each) => [each.tagName, each.id || each.getAttribute("aria-label") || each.value ||
      each.textContent.trim().slice(0, 40)].join(" ");
    0
"""
# An outline, a ring or a border that is there with the focus alone.
LOOK = """
    (() => {
      const { outlineStyle, outlineWidth, boxShadow, borderColor } = getComputedStyle(document.activeElement);
      return [outlineStyle === "none" ? "" : outlineWidth, boxShadow, borderColor].join(" ");
    })()
"""
ROLES = {"button", "link", "textbox", "searchbox", "combobox", "tab", "checkbox", "spinbutton", "DisclosureTriangle"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium()
    with Server(tmp_path_factory.mktemp("server")) as started:
        at = datetime.now(UTC) - timedelta(hours=20)
        events = [(minute, path, f"v-{minute}") for minute, path in enumerate(f"/{n}" for n in range(12))]
        for minute, path, visitor in events:
            post(started, view(started, path, visitor, time=(at + timedelta(minutes=minute)).isoformat()))
        started.fold()
        yield started


@asynccontextmanager
async def signed_in(server: Server, tmp_path: Path) -> AsyncIterator[Page]:
    """All of the page, as wide as a desk has it."""
    async with visit(server, tmp_path) as page:
        await screen(page, 1280)
        await sign_in(page)
        await shown(page)
        await page.evaluate(CONTROLS)
        yield page


async def press(page: Page, key: str, modifiers: int = 0) -> None:
    code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": modifiers}
    text = {"text": "\r"} if key == "Enter" else {}
    await page.send("Input.dispatchKeyEvent", type="keyDown", **code, **text)
    await page.send("Input.dispatchKeyEvent", type="keyUp", **code)


async def focused(page: Page) -> str:
    return str(await page.evaluate("described(document.activeElement)"))


async def test_each_control_is_reached_in_its_order_and_seen(server: Server, tmp_path: Path) -> None:
    async with signed_in(server, tmp_path) as page:
        await page.evaluate("document.body.tabIndex = -1; document.body.focus(); 0")
        wanted = await page.evaluate("controls().map(described)")
        reached: list[str] = []
        unseen: list[str] = []
        for _ in range(PRESSES_MAX):
            await press(page, "Tab")
            if await page.evaluate("document.activeElement === document.body"):
                break
            reached.append(await focused(page))
            seen = await page.evaluate(LOOK)
            await page.evaluate("window.had = document.activeElement; had.blur(); 0")
            plain = await page.evaluate(f"(had => {LOOK.replace('document.activeElement', 'had')})(had)")
            await page.evaluate("had.focus({ focusVisible: true }); 0")
            if seen == plain:
                unseen.append(reached[-1])
        assert len(wanted) > 40
        assert [each for each in reached if each in wanted] == wanted
        assert unseen == []


async def test_dialog_opens_and_closes_by_keys_and_gives_the_focus_back(server: Server, tmp_path: Path) -> None:
    async with signed_in(server, tmp_path) as page:
        all_ = "document.querySelector('[data-panel=pages] .foot .link')"
        await page.evaluate(f"{all_}.focus(); 0")
        await press(page, "Enter")
        await page.until(
            "document.querySelector('#all').open && document.querySelectorAll('#all-body tbody tr').length === 12"
        )
        for _ in range(60):
            await press(page, "Tab")
            outside = "document.activeElement !== document.body && !document.activeElement.closest('#all')"
            assert not await page.evaluate(outside), "the focus has left the dialog"
        await press(page, "Escape")
        await page.until("!document.querySelector('#all').open")
        assert await page.evaluate(f"document.activeElement === {all_}")


async def test_arrows_go_along_the_tabs(server: Server, tmp_path: Path) -> None:
    async with signed_in(server, tmp_path) as page:
        chosen = "document.querySelector('[data-panel=sources] [aria-selected=true]')"
        await page.evaluate(f"{chosen}.focus(); 0")
        for key, label in (("ArrowRight", "Channels"), ("ArrowLeft", "Sources"), ("ArrowLeft", "Referrers")):
            await press(page, key)
            await page.until(f"{chosen}.textContent === {json.dumps(label)}")
            await shown(page)
            assert await page.evaluate(f"document.activeElement === {chosen}")


async def test_each_control_has_a_name_and_what_changes_is_told(server: Server, tmp_path: Path) -> None:
    """By the tree that a screen reader gets."""
    async with signed_in(server, tmp_path) as page:
        await page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true)); 0")
        await shown(page)
        nodes: list[dict[str, Any]] = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        told = [each for each in nodes if not each.get("ignored")]
        controls = [each for each in told if each["role"]["value"] in ROLES]
        assert len(controls) > 60
        assert [each["role"]["value"] for each in controls if not each["name"]["value"].strip()] == []
        headings = [each["name"]["value"] for each in told if each["role"]["value"] == "heading"]
        assert {"Pages", "Sources", "Places", "Devices", "Events", "Goals"} <= set(headings)
        assert await page.evaluate("document.querySelectorAll('[role=status], [role=alert], [aria-live]').length") > 0
        tables = [each for each in told if each["role"]["value"] == "columnheader"]
        assert len(tables) >= 18
