"""Holds and the doctor's findings on the page, in a real browser: what is on hold, the
dialog that asks before it is confirmed, and findings that are asked for when they are
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.share_links.links import new_link
from ingest.share_links.links_file import add_link
from shared.generations.load import load_snapshot
from shared.holds import confirmed_holds
from shared.timestamps import now_ms
from shared.tokens import create_token
from tests.builders.archive import archived
from tests.builders.browser import Page, browse, chromium
from tests.builders.dashboard_page import ZONE, shown, sign_in, visit
from tests.builders.history import history
from tests.builders.logs import fold
from tests.builders.server import Server

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose archive of eight days is on hold."""
    chromium()
    data = history(tmp_path / "server" / "data", 8, now_ms())
    fold(data, now_ms(), archive_retention_days=7)
    with Server(tmp_path / "server", archive_retention_days=7, fold_interval="1h") as started:
        yield started


async def open_section(page: Page, section: str) -> None:
    await page.evaluate(f"document.querySelector('{section}').open = true")


async def test_hold_is_confirmed_after_a_dialog_and_the_next_pass_deletes(server: Server, tmp_path: Path) -> None:
    hold = load_snapshot(server.data).retention.on_hold["archive"]
    days = archived(server.data)
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        assert await page.text("#holds-count") == "1 deletion waits for an answer"
        assert "Holds on the page" in await page.text("#warnings")
        await open_section(page, "#holds")
        said = await page.text("#holds-body li p")
        assert said.startswith(
            f"archive: the events themselves. 8 of 8 days that are kept, {hold.first} to {hold.last} (UTC), "
        )

        dialog = "document.querySelector('#hold-dialog')"
        await page.evaluate("document.querySelector('#holds-body button').focus()")
        await page.click("#holds-body button")
        assert await page.text("#hold-title") == "Delete 8 days of the archive for good?"
        assert "cannot be taken back" in await page.text("#hold-text")
        assert await page.evaluate("document.activeElement.id") == "hold-keep", "Enter alone deletes nothing"
        await page.click("#hold-keep")
        assert not await page.evaluate(f"{dialog}.open")
        assert confirmed_holds(server.data) == [] and archived(server.data) == days
        focused = "document.activeElement === document.querySelector('#holds-body button')"
        assert await page.evaluate(focused), "the keyboard is back where it was"

        await page.click("#holds-body button")
        await page.click("#hold-delete")
        await page.until("document.querySelector('#holds-state').innerText.startsWith('Confirmed')")
        # It asks the compactor for a pass, which is not due for an hour.
        for _ in range(600):
            if not archived(server.data):
                break
            await page.evaluate("new Promise((ready) => setTimeout(ready, 100))")
        assert archived(server.data) == [] and confirmed_holds(server.data) == []
        await page.open(f"http://{server.host}/admin/")
        await shown(page)
        assert await page.text("#holds-count") == "none"


async def test_hold_that_has_changed_is_not_confirmed_and_shown_anew(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        await open_section(page, "#holds")
        await page.click("#holds-body button")
        fold(server.data, now_ms())  # with the default retention nothing is due
        await page.click("#hold-delete")
        await page.until("document.querySelector('#holds-state').innerText === 'Nothing was confirmed.'")
        await page.until("document.querySelector('#holds-count').innerText === 'none'")
        assert "on hold" in await page.text("#message")
    assert confirmed_holds(server.data) == [] and archived(server.data) != []


async def test_findings_are_asked_for_when_they_are_looked_at(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await sign_in(page)
        await shown(page)
        asked = "performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/doctor')).length"
        assert await page.evaluate(asked) == 0
        await open_section(page, "#doctor")
        await page.until("document.querySelector('#doctor-body section')")
        assert await page.evaluate(asked) == 1
        assert "As of" in await page.text("#doctor-state")
        titles = await page.evaluate("[...document.querySelectorAll('#doctor-body h3')].map((each) => each.innerText)")
        order = ["Wrong", "Warnings", "Cannot be told from here"]
        assert [title.split(":")[0] for title in titles] == [name for name in order if any(name in t for t in titles)]
        body = await page.evaluate("document.querySelector('#doctor-body').textContent")
        assert "retention holds: the deletion of 8 of 8 days of the archive is on hold" in body
        commands = "[...document.querySelectorAll('#doctor-body code')].map((each) => each.textContent)"
        assert "foldlog retain --confirm" in await page.evaluate(commands)
        problems = "[...document.querySelectorAll('#doctor-body section li')]"
        assert await page.evaluate(f"{problems}.every((each) => each.textContent.includes('To do: '))")


async def test_limited_tokens_and_share_links_see_neither(server: Server, tmp_path: Path) -> None:
    link, secret = new_link("127.0.0.1", "shared")
    add_link(server.data, link)
    limited = create_token(server.data, "admin", sites=["127.0.0.1"])[1]
    seen = "['#holds', '#doctor'].filter((each) => document.querySelector(each).checkVisibility())"
    (tmp_path / "limited").mkdir()
    async with visit(server, tmp_path / "limited") as page:
        await sign_in(page, limited)
        await shown(page)
        assert await page.evaluate(seen) == []
    async with browse(tmp_path / "holder", ZONE) as holder:
        await holder.open(f"http://{server.host}/share/{link.id}#{secret}")
        await shown(holder)
        assert await holder.evaluate(seen) == []
        assert holder.complaints == []


async def test_reader_is_told_that_only_admins_may(server: Server, tmp_path: Path) -> None:
    async with visit(server, tmp_path) as page:
        await sign_in(page, create_token(server.data, "read")[1])
        await shown(page)
        await open_section(page, "#doctor")
        await page.until("document.querySelector('#doctor-body .problem')")
        assert "may only read" in await page.text("#doctor-body .problem")
