"""A headless Chromium that shows the dashboard, driven over its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/ describes the commands. Only what
the tests need is here.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.builders.waiting import TIMEOUT_S

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Navigated(AssertionError):
    """The page became another document while a command ran in the old one."""


class Page:
    """One tab. `complaints` are its uncaught errors and the messages of its console,
    such as what its policy blocked.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._sent = 0
        self.complaints: list[str] = []

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Carry out one command of the protocol and return its result."""
        self._sent += 1
        await self._socket.send_json({"id": self._sent, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=TIMEOUT_S)
            if message.get("id") == self._sent:
                if "navigated" in message.get("error", {}).get("message", ""):
                    raise Navigated(f"{method}: {message['error']}")
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message["method"] in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"}:
            self.complaints.append(json.dumps(message["params"]))
        # A 4xx is logged, too, as of source "network"; whether it was right is seen by
        # what the page makes of it.
        if message["method"] == "Log.entryAdded" and message["params"]["entry"]["source"] != "network":
            self.complaints.append(message["params"]["entry"]["text"])

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true, or a promise of it; the page may become
        another document meanwhile. When it does not become so, the failure shows the
        page's text.
        """
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        while not await self._is_true(expression):
            if asyncio.get_running_loop().time() > deadline:
                pytest.fail(
                    f"never true: {expression}\n{await self.evaluate('document.body.innerText')}\n{self.complaints}"
                )
            await asyncio.sleep(0.05)

    async def _is_true(self, expression: str) -> bool:
        try:
            return bool(await self.evaluate(f"Promise.resolve({expression}).then(Boolean)"))
        except Navigated:
            return False

    async def text(self, selector: str) -> str:
        """The text of an element as it is seen."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def fill(self, selector: str, text: str) -> None:
        """Type into a field, over what it held."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        await self.send("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def press(self, selector: str) -> None:
        """Click as a hand does: with the mouse, at the middle of what is seen."""
        place = f"document.querySelector({json.dumps(selector)})"
        await self.evaluate(f"{place}.scrollIntoView({{block: 'nearest', behavior: 'instant'}})")
        box = await self.evaluate(f"{place}.getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, **at, button="left", clickCount=1)

    async def before_each_document(self, script: str) -> None:
        """Run a script in every document before its own ones."""
        await self.send("Page.enable")
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def point_at(self, x: float, y: float) -> None:
        await self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def chromium() -> str:
    """The browser's path. Without one the test is skipped; where CI is "true" it
    fails.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("chromium is not installed, and CI=true asks for every component")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


@asynccontextmanager
async def browse(profile: Path, zone: str) -> AsyncIterator[Page]:
    """A browser with a new profile (a directory to be made) in a time zone; it has
    ended when the block is left.
    """
    with (profile.parent / f"{profile.name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank", stdout=log, stderr=log
        )
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{await _port(profile)}/json/list") as answer:
                address = next(
                    target["webSocketDebuggerUrl"] for target in await answer.json() if target["type"] == "page"
                )
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                await page.send("Emulation.setTimezoneOverride", timezoneId=zone)
                await page.send("Emulation.setLocaleOverride", locale="en-GB")
                yield page
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _port(profile: Path) -> int:
    """The port that the browser chose, from the file in which it says so."""
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    while True:
        try:
            return int((profile / "DevToolsActivePort").read_text("ascii").split("\n")[0])
        except (FileNotFoundError, ValueError):
            assert asyncio.get_running_loop().time() < deadline, f"no browser came up; see {profile}.log"
            await asyncio.sleep(0.05)
