"""`make pictures`: the pictures of the README and of docs/demo.md, taken of a real demo
in the Chromium of the tests.

Each is taken light and dark, of a window of WIDTH x HEIGHT pixels.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from shared.sign_in_code import create_code
from tests.builders.browser import Page, browse
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
    deadline = time.monotonic() + PAGE_S
    while not await page.evaluate(IS_SHOWN):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    await page.until(f"{IS_SHOWN} && document.querySelector('#chart canvas')")
    await page.until("document.getAnimations().length === 0")


async def shop(demo: Demo, page: Page) -> None:
    """Before the visitor has answered."""
    await page.open(f"http://shop.localhost:{demo.port}/demo/")
    await page.until("!document.querySelector('#banner').hidden")


VIEWS: dict[str, Callable[[Demo, Page], Awaitable[None]]] = {"dashboard": dashboard, "shop": shop}


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
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="foldlog-pictures-") as directory:
        place, began = Path(directory), time.monotonic()
        with Demo(place / "tmp", "--days", DAYS) as demo:
            for name in VIEWS:
                for scheme in SCHEMES:
                    file = asyncio.run(take(demo, name, scheme, place))
                    seconds = time.monotonic() - began
                    print(f"{file.relative_to(ROOT)}: {file.stat().st_size:,} bytes, {seconds:.0f} s after the start")
    return 0


if __name__ == "__main__":
    sys.exit(main())
