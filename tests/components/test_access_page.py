"""Tokens and share links on the page, in a real browser: making them, opening a link as
its holder does, and revoking it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.share_links.links import new_link
from ingest.share_links.links_file import add_link
from shared.tokens import create_token, load_tokens
from tests.builders.browser import Page, browse, chromium
from tests.builders.dashboard_page import ZONE, cells, number, post, shown, sign_in, view, visit
from tests.builders.server import Server

OTHER = "other.example"
PASSWORD = "correct horse"  # noqa: S105

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium()  # without a browser no server is started
    with Server(tmp_path_factory.mktemp("server")) as started:
        post(started, view(started, "/own", "v-1"), view(started, "/own", "v-2"))
        events = [{"name": "pageview", "url": f"https://{OTHER}/theirs", "visitor": f"w-{n}"} for n in range(5)]
        assert started.post(events, site=OTHER).status == 200
        started.fold()
        yield started


def place(tmp_path: Path, name: str) -> Path:
    """A directory for the browser of another person."""
    (tmp_path / name).mkdir()
    return tmp_path / name


async def open_section(page: Page) -> None:
    await page.evaluate("document.querySelector('#access').open = true")
    await page.until("document.querySelector('#access-body section:last-child table')")


async def revoke(page: Page, what: str) -> None:
    await page.evaluate(f"document.querySelector('[aria-label^=\"Revoke {what}\"]').click()")
    await page.evaluate(f"document.querySelector('[aria-label=\"Revoke {what} for good?\"]').click()")


async def test_token_of_a_site_is_made_used_and_revoked(server: Server, tmp_path: Path) -> None:
    async with visit(server, place(tmp_path, "operator")) as page:
        await sign_in(page)
        await shown(page)
        await open_section(page)
        await page.fill("#token-form [name=sites]", f"{OTHER}, 127.0.0.1")
        await page.click("#token-form button")
        await page.until("document.querySelector('.made code')")
        secret = await page.text(".made code")
        (token,) = load_tokens(server.data)
        assert token.sites == ("127.0.0.1", OTHER)
        await page.until(f"document.querySelector('#access-body').innerText.includes('{token.id}')")

        async with visit(server, place(tmp_path, "reader")) as reader:
            await sign_in(reader, secret)
            await shown(reader)
            sites = "[...document.querySelector('#site').options].map((each) => each.value)"
            assert await reader.evaluate(sites) == ["127.0.0.1", OTHER]
            assert await number(reader, "visitors") == "2"
            assert not await reader.evaluate("document.querySelector('#access').checkVisibility()")
            assert not await reader.evaluate("document.querySelector('#health').checkVisibility()")
            await reader.evaluate(
                f"site.value = '{OTHER}'; site.dispatchEvent(new Event('change'))",
            )
            await reader.until("location.search.includes('site=')")
            await shown(reader)
            assert await number(reader, "visitors") == "5"

        await revoke(page, f"token {token.id}")
        await page.until("!document.querySelector('.made code')")
        await page.until(f"!document.querySelector('#access-body').innerText.includes('{token.id}')")
    assert load_tokens(server.data) == ()


async def test_link_with_a_password_is_made_opened_elsewhere_and_revoked(server: Server, tmp_path: Path) -> None:
    async with visit(server, place(tmp_path, "operator")) as page:
        await sign_in(page)
        await shown(page)
        await open_section(page)
        for name, text in (("site", "127.0.0.1"), ("name", "For the agency"), ("password", PASSWORD)):
            await page.fill(f"#share-link-form [name={name}]", text)
        await page.click("#share-link-form button")
        await page.until("document.querySelector('.made code')")
        address = await page.text(".made code")
        assert re.fullmatch(rf"http://{re.escape(server.host)}/share/[0-9a-f]{{8}}#[\w-]{{32}}", address)

        async with browse(place(tmp_path, "holder") / "profile", ZONE) as holder:
            await holder.open(address)
            await holder.until("!document.querySelector('#share-form').hidden")
            await holder.fill("#share-password", f"not {PASSWORD}")
            await holder.click("#share-form button")
            await holder.until("document.querySelector('#message').innerText.includes('not the password')")
            assert await holder.evaluate("document.querySelector('#dashboard').hidden")
            await holder.fill("#share-password", PASSWORD)
            await holder.click("#share-form button")
            await shown(holder)
            assert await number(holder, "visitors") == "2"
            assert [row[0] for row in await cells(holder, "#top-pages")] == ["/own"]
            hidden = ["#access", "#health", "#stream", "#snippet", "#sign-out", "#fold", "#save-details"]
            seen = await holder.evaluate(f"{hidden}.filter((each) => document.querySelector(each).checkVisibility())")
            assert seen == []
            assert OTHER not in await holder.evaluate("document.documentElement.innerHTML")
            assert await holder.evaluate("document.cookie") == "", "no script reads the cookie"
            assert await holder.evaluate("sessionStorage.length") == 0

            await revoke(page, "the link For the agency")
            await page.until("!document.querySelector('#access-body').innerText.includes('For the agency')")
            await holder.evaluate("document.querySelector('#period input[value=today]').click()")
            await holder.until("document.querySelector('#message').innerText.includes('not valid')")
            assert holder.complaints == []


@pytest.mark.parametrize(("allowed", "is_framed"), [("127.0.0.1", True), ("blog.example", False)])
async def test_embedded_page_is_framed_where_the_link_says(
    server: Server, tmp_path: Path, allowed: str, is_framed: bool
) -> None:
    """The page that frames it is another site to the browser: its name is another
    one.
    """
    port = server.host.rpartition(":")[2]
    host = "localhost" if is_framed else "127.0.0.1"
    link, secret = new_link("127.0.0.1", "framed", embed=(f"{allowed}:{port}",))
    add_link(server.data, link)
    async with browse(tmp_path / "profile", ZONE) as page:
        await page.open(f"http://127.0.0.1:{port}/healthz")
        await page.evaluate(
            "const frame = document.createElement('iframe');"
            f"frame.src = 'http://{host}:{port}/embed/{link.id}#{secret}';"
            "frame.onload = () => (document.title = 'loaded'); document.body.append(frame); 0"
        )
        await page.until("document.title === 'loaded'")
        used = server.data.last_use(link.id)
        if is_framed:
            for _ in range(600):
                if used.exists():
                    break
                await page.evaluate("new Promise((ready) => setTimeout(ready, 100))")
        assert used.exists() == is_framed


async def test_reader_without_the_right_sees_no_tokens(server: Server, tmp_path: Path) -> None:
    secret = create_token(server.data, "read")[1]
    async with visit(server, tmp_path) as page:
        await sign_in(page, secret)
        await shown(page)
        await page.evaluate("document.querySelector('#access').open = true")
        await page.until("document.querySelectorAll('#access-body .problem').length === 2")
        assert "may only read" in await page.text("#access-body .problem")
