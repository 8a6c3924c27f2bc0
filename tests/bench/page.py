"""The dashboard in Chromium over twelve months of 1,000,000 events: how long until the
first number, and until all panels are drawn again after a filter was clicked.

The events are those of `reports.py`: some days are made, and copies of them, with
visitors of their own, stand for the others. All times are the page's own, by
`performance.now()`; on a busy machine they say little, so that the processor time of
the server and the load are shown, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from foldlog.load.target import Target
from tests.bench.checkout import cpu_seconds, family
from tests.bench.processes import ADMIN_TOKEN, serving
from tests.bench.year import LAST_DAY, TIMES, asked_year
from tests.builders.browser import Page, browse
from tests.builders.dashboard_page import screen

FILTERS = {"France": "FR", "Germany": "DE"}  # one sixteenth, and seven sixteenths of the visitors
WAITS = 6000
# When numbers came, by the page's clock. A round is over when the page is no longer
# busy.
CLOCK = """
    sessionStorage.setItem("foldlog.token", TOKEN);
    window.times = {};
    new MutationObserver(() => {
      const numbers = [...document.querySelectorAll(".total .number")].map((each) => /\\d/.test(each.textContent));
      if (numbers.some(Boolean)) times.first ??= performance.now();
      if (numbers.length && numbers.every(Boolean)) times.all ??= performance.now();
      if (document.querySelector("#dashboard")?.ariaBusy === "false") times.drawn ??= performance.now();
    }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
"""


async def look(target: Target, profile: Path, days: int) -> None:
    """Print a line for each thing that is measured."""
    first = LAST_DAY - timedelta(days=days - 1)
    address = f"http://{target.host}:{target.port}/admin/?period=custom&from={first}&to={LAST_DAY}&tz=UTC"
    async with browse(profile, "UTC") as page:
        await screen(page, 1280)
        await page.before_each_document(CLOCK.replace("TOKEN", json.dumps(ADMIN_TOKEN)))
        for name in ("cold", "warm", "warm", "warm"):
            spent = cpu_seconds(family(target.server_pid or 0))
            await page.open(address)
            said = await drawn(page)
            if name == "cold":
                print(await weight(page))
            print(f"{days} days, {name}: {said}; {_spent(target, spent)}")
        for name, country in FILTERS.items():
            spent = cpu_seconds(family(target.server_pid or 0))
            picked = f"[...document.querySelectorAll('#top-places .pick')].find((each) => each.innerText === '{name}')"
            took = await clicked(page, f"{picked}.click()")
            print(f"{days} days, a click on {country}: drawn {took:.0f} ms; {_spent(target, spent)}")
            await clicked(page, "document.querySelector('#chips button').click()")


async def clicked(page: Page, click: str) -> float:
    """Milliseconds from a click until everything is drawn again."""
    began = await page.evaluate("performance.now()")
    await page.evaluate(f"{click}; window.times = {{}}")  # the page is busy from the click on
    await drawn(page)
    return float(await page.evaluate("times.drawn") - began)


async def drawn(page: Page) -> str:
    """What the page's clock said once everything is drawn."""
    # Longer than tests wait, on a machine that has much else to do.
    for _ in range(WAITS):
        if await page.evaluate("Boolean(times.drawn)"):
            break
        await asyncio.sleep(0.1)
    times: dict[str, Any] = await page.evaluate("times")
    return ", ".join(f"{name} {times[name]:.0f} ms" for name in ("first", "all", "drawn") if name in times)


async def weight(page: Page) -> str:
    """Bytes on the wire of what is no answer of the API, and the hosts that were
    asked.
    """
    entries = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
    asked = await page.evaluate(
        f"{entries}.map(({{ name, transferSize }}) => [name, transferSize, new URL(name).host === location.host])"
    )
    files = [size for name, size, _ in asked if "/admin/api/" not in name and not name.startswith("data:")]
    foreign = [name for name, _, is_own in asked if not is_own and not name.startswith("data:")]
    return f"{len(files)} files, {sum(files):,} bytes with their heads; to other hosts: {len(foreign)}"


def _spent(target: Target, before: float) -> str:
    """What the server's processes used."""
    used = cpu_seconds(family(target.server_pid or 0)) - before
    return f"{used:.2f} s of the server's processor time, load {os.getloadavg()[0]:.0f}"


def main() -> None:
    with asked_year(argparse.ArgumentParser(description=__doc__), TIMES) as (given, data, place):
        for days in (28, given.days):
            with serving(data.root, FOLDLOG_FOLD_INTERVAL="86400") as target:
                asyncio.run(look(target, place / f"profile-{days}", days))


if __name__ == "__main__":
    main()
