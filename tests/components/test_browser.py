"""The browser of the tests waits through a change of documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.browser import Navigated, browse

pytestmark = pytest.mark.component


async def test_wait_goes_on_where_the_page_becomes_another_document(tmp_path: Path) -> None:
    async with browse(tmp_path / "profile", "UTC") as page:
        await page.open("about:blank?first")
        # The promise of a document is never kept: it ends with its document.
        with pytest.raises(Navigated):
            await page.evaluate("location.search = '?second', new Promise(() => {})")
        await page.until("location.search === '?third' || (location.search = '?third', new Promise(() => {}))")
        assert await page.evaluate("location.search") == "?third"
