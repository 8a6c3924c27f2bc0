"""`make pictures`: the pictures of the README and of docs/demo.md, taken of a real demo
in the Chromium of the tests.

Each is taken light and dark, of a window of WIDTH x HEIGHT pixels. `make pictures
ARGS=DIR` takes one of every view of the page into a directory instead: light, dark and
as a phone shows it, each as long as the page is.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from shared.sign_in_code import create_code
from tests.builders.browser import Page, browse
from tests.builders.dashboard_page import screen
from tests.builders.demo import Demo
from tests.builders.pages import ROOT

PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1180, 1500
ZONE = "Europe/Berlin"
DAYS = "90"
SCHEMES = ("light", "dark")
# A busy machine needs more than a test waits for.
PAGE_S = 600.0
IS_SHOWN = "!document.querySelector('#dashboard').hidden && document.querySelector('#dashboard').ariaBusy === 'false'"


async def dashboard(demo: Demo, page: Page) -> None:
    """Signed in by a link, the last 28 days."""
    await page.open(f"http://127.0.0.1:{demo.port}/admin/?period=28d#code={create_code(demo.data)}")
    await _settled(page)
    await page.until(f"{IS_SHOWN} && document.querySelector('#chart canvas')")


async def shop(demo: Demo, page: Page) -> None:
    """Before the visitor has answered."""
    await page.open(f"http://shop.localhost:{demo.port}/demo/")
    await page.until("!document.querySelector('#banner').hidden")


VIEWS: dict[str, Callable[[Demo, Page], Awaitable[None]]] = {"dashboard": dashboard, "shop": shop}


# Every view of the page: its name, its address, and what is done on it.
SCREENS = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light"), "phone-dark": (390, "dark")}
_OPEN = "document.querySelector('{}').open = true"
_ALL = "document.querySelector('[data-panel=pages] .foot button').click()"
PAGES: dict[str, tuple[str, str]] = {
    "sign-in": ("", "document.querySelector('#sign-out').click()"),
    "28-days": ("?period=28d", ""),
    "today": ("?period=today&measure=events", ""),
    "12-months": ("?period=12mo&compare=none", ""),
    "one-site": ("?period=7d&site=blog.localhost", ""),
    "filtered": ("?period=7d&filter=country==DE&filter=device==mobile", ""),
    "nothing": ("?period=7d&filter=path==/nothing", ""),
    "table": ("?period=7d", _OPEN.format("#chart-panel details")),
    "all": ("?period=7d", _ALL),
    "options": ("?period=7d", _OPEN.format("#toolbar .menu")),
    "add-a-filter": ("?period=7d", _OPEN.format("#filter-details")),
    "live": ("?period=7d", _OPEN.format("#live")),
    "funnel": ("?period=28d&step=path==/teas&step=event==order", ""),
    "returning": ("?period=28d", _OPEN.format("#cohorts")),
    "stream": ("?period=7d", _OPEN.format("#stream")),
    "snippet": ("?period=7d", _OPEN.format("#snippet")),
    "holds": ("?period=7d", _OPEN.format("#holds")),
    "doctor": ("?period=7d", _OPEN.format("#doctor")),
    "health": ("?period=7d", _OPEN.format("#health")),
}


async def take_all(demo: Demo, name: str, place: Path, kept: Path) -> None:
    """Take every view on one screen."""
    width, scheme = SCREENS[name]
    async with browse(place / f"profile-{name}", ZONE) as page:
        await screen(page, width, scheme)
        await page.open(f"http://127.0.0.1:{demo.port}/admin/#code={create_code(demo.data)}")
        await _settled(page)
        token = await page.evaluate("sessionStorage.getItem('foldlog.token')")
        await page.before_each_document(f"sessionStorage.setItem('foldlog.token', {json.dumps(token)})")
        for view, (query, then) in PAGES.items():
            await page.open(f"http://127.0.0.1:{demo.port}/admin/{query}")
            await _settled(page)
            if then:
                await page.evaluate(f"{then}; 0")
                await asyncio.sleep(3)  # what it asks, or a few events of the stream
            height = await page.evaluate("document.documentElement.scrollHeight")
            whole = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            shot = await page.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=whole)
            (kept / f"{view}-{name}.png").write_bytes(base64.b64decode(shot["data"]))


async def _settled(page: Page) -> None:
    deadline = time.monotonic() + PAGE_S
    while not await page.evaluate(IS_SHOWN):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    await page.until("document.getAnimations().length === 0")


async def take(demo: Demo, name: str, scheme: str, place: Path) -> Path:
    """Take one picture. Returns its file."""
    async with browse(place / f"{name}-{scheme}", ZONE) as page:
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        await page.send("Emulation.setDeviceMetricsOverride", **metrics)
        await page.send("Emulation.setScrollbarsHidden", hidden=True)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.send("Emulation.setEmulatedMedia", features=features)
        await VIEWS[name](demo, page)
        await page.evaluate("document.activeElement?.blur()")
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shot = await page.send("Page.captureScreenshot", format="png", optimizeForSpeed=False)
    file = PICTURES / f"{name}-{scheme}.png"
    file.write_bytes(base64.b64decode(shot["data"]))
    return file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kept", type=Path, nargs="?", help="where pictures of every view go")
    parser.add_argument("--days", default=DAYS, help="days of the demo")
    given = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="foldlog-pictures-") as directory:
        place, began = Path(directory), time.monotonic()
        with Demo(place / "tmp", "--days", given.days) as demo:
            if given.kept:
                given.kept.mkdir(parents=True, exist_ok=True)
                for name in SCREENS:
                    asyncio.run(take_all(demo, name, place, given.kept))
                print(f"{len(list(given.kept.glob('*.png')))} pictures are in {given.kept}")
                return 0
            for name in VIEWS:
                for scheme in SCHEMES:
                    file = asyncio.run(take(demo, name, scheme, place))
                    seconds = time.monotonic() - began
                    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes, {seconds:.0f} s after the start")
    return 0


if __name__ == "__main__":
    sys.exit(main())
