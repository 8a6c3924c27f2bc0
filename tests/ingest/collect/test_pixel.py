"""GET /v1/pixel.gif: what its key allows, what becomes of each request, and that the
answer is an image with a truthful status in each case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from ingest.http.image import GIF
from shared.disk.layout import DataDirectory
from shared.pixel_keys import KEY_MAX_CHARS, PIXEL, parse_pixel_key
from shared.tokens import create_token, revoke_token
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, bearer
from tests.builders.visits import FIREFOX
from tests.builders.worker import Worker

SITE, OTHER = "shop.example", "blog.example"
URL = "https://shop.example/pricing?utm_source=mail"


class Pixels:
    """A worker, and the keys that it knows."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.mail = key_of(worker.data, SITE, "mail_open/may-2026")
        self.page = key_of(worker.data, SITE, "pageview")
        self.foreign = key_of(worker.data, "elsewhere.example", "pageview")

    def load(
        self, query: Mapping[str, str] | str, headers: Mapping[str, str] | None = None, path: str = PIXEL
    ) -> Answer:
        text = query if isinstance(query, str) else urlencode(query)
        return self.worker.request("GET", f"{path}?{text}", headers={"User-Agent": FIREFOX} | dict(headers or {}))

    def stored(self, query: Mapping[str, str] | str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The line of a request that is taken."""
        before = self.worker.position()
        answer = self.load(query, headers)
        assert (answer.status, answer.headers["Foldlog-Problem"]) == (200, None)
        (line,) = self.worker.appended(before)
        return line

    def refused(self, query: Mapping[str, str] | str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Status and code of a request that leaves no line."""
        before = self.worker.position()
        answer = self.load(query, headers)
        assert (self.worker.appended(before), answer.body) == ([], GIF)
        return answer.status, answer.headers["Foldlog-Problem"]


def key_of(data: DataDirectory, site: str, use: str) -> str:
    return create_token(data, "pixel", site, use)[1]


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pixels]:
    settings = {"sites": f"{SITE} {OTHER}", "pixel_path": "/dot.gif", "exclude_networks": "192.0.2.0/24"}
    with Worker(tmp_path_factory.mktemp("pixel"), trusted_proxies="127.0.0.1", **settings) as running:
        yield Pixels(running)


def agreed(key: str, **given: str) -> dict[str, str]:
    return {"k": key, "consent": "granted"} | given


def test_mail_is_an_event_of_what_the_key_says(pixels: Pixels) -> None:
    line = pixels.stored(agreed(pixels.mail), {"Accept-Language": "de-DE,en", "X-Forwarded-For": "203.0.113.7"})
    assert (line["site"], line["name"], line["props"]) == (SITE, "mail_open", {"campaign": "may-2026"})
    assert (line["consent"], line["ua"], line["language"]) == ("granted", FIREFOX, "de")
    assert line["time"] == line["received"] and line["daily"] is True
    # A page's, not a server's: what a server sent with a key is never a copy of it.
    assert "sender" not in line and "203.0.113.7" not in str(line)


def test_page_without_scripts_says_its_address(pixels: Pixels) -> None:
    line = pixels.stored(agreed(pixels.page, url=URL))
    assert (line["name"], line["url"], "props" in line) == ("pageview", URL, False)


def test_each_load_is_an_event_of_its_own_visitor(pixels: Pixels) -> None:
    first, again = (pixels.stored(agreed(pixels.mail)) for _ in range(2))
    other = pixels.stored(agreed(pixels.mail), {"X-Forwarded-For": "203.0.113.8"})
    assert len({first["id"], again["id"], other["id"]}) == 3
    assert first["visitor"] == again["visitor"] != other["visitor"]


def test_answer_is_a_point_that_nothing_keeps(pixels: Pixels) -> None:
    answer = pixels.load(agreed(pixels.page))
    assert (answer.body, len(answer.body), answer.headers.get_content_type()) == (GIF, 43, "image/gif")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Set-Cookie"] is None and answer.headers["ETag"] is None


def test_written_and_not_synced_is_said(tmp_path: Path) -> None:
    with Worker(tmp_path, durability="os", consent="implied") as worker:
        key = key_of(worker.data, SITE, "mail_open")
        assert worker.request("GET", f"{PIXEL}?k={key}").status == 202
        assert worker.appended(0)[0]["consent"] == "implied"


def test_other_path_counts_as_the_first_does(pixels: Pixels) -> None:
    before = pixels.worker.position()
    assert pixels.load(agreed(pixels.page), path="/dot.gif").status == 200
    assert len(pixels.worker.appended(before)) == 1
    refused = pixels.load({"k": "x"}, path="/dot.gif")
    assert (refused.status, refused.body) == (403, GIF)
    counted = {key.partition(" ")[0] for key in pixels.worker.stats.requests}
    assert PIXEL in counted and "/dot.gif" not in counted


def altered(key: str) -> list[str]:
    """Each part of a key changed, and what is no key at all."""
    id_, site, use, mark = key.split("~")
    return [
        "~".join(parts)
        for parts in (
            ("0" * 8, site, use, mark),
            (id_, OTHER, use, mark),
            (id_, site, "order", mark),
            (id_, site, "mail_open/june", mark),
            (id_, site, "mail_open", mark),
            (id_, site, use, mark[:-1]),
            (id_, site, use, ""),
        )
    ]


def test_no_part_of_a_key_can_be_altered(pixels: Pixels) -> None:
    for key in [*altered(pixels.mail), "", "~~~", "x" * KEY_MAX_CHARS, "x" * 7000, "é~\udcff", ADMIN_TOKEN, INGEST_KEY]:
        query = f"consent=granted&k={quote(key, errors='surrogateescape')}"
        assert pixels.refused(query) == (403, "pixel"), key
    assert pixels.stored(agreed(pixels.mail))


def test_key_opens_nothing_else(pixels: Pixels) -> None:
    batch = b'{"consent":"granted","events":[{"name":"x"}]}'
    sent = {**bearer(pixels.mail), "Content-Type": "application/json"}
    assert pixels.worker.request("POST", "/v1/events", batch, sent).code == "key"
    assert pixels.worker.request("GET", "/admin/api/status", headers=bearer(pixels.mail)).code == "token"


def test_token_of_another_scope_is_no_key(pixels: Pixels) -> None:
    secret = create_token(pixels.worker.data, "ingest")[1]
    assert pixels.refused(agreed(secret)) == (403, "pixel")


def test_revoked_key_counts_no_more_from_the_next_request_on(pixels: Pixels) -> None:
    token, key = create_token(pixels.worker.data, "pixel", SITE, "mail_open")
    assert pixels.stored(agreed(key))
    assert revoke_token(pixels.worker.data, token.id)
    assert pixels.refused(agreed(key)) == (403, "pixel")


def test_site_that_is_listed_no_more_is_refused(pixels: Pixels) -> None:
    assert pixels.refused(agreed(pixels.foreign)) == (403, "origin")


QUERIES = {
    "nothing": "",
    "no key": "consent=granted",
    "key twice": "k={key}&k={key}",
    "visitor": "k={key}&visitor=v-81f3",
    "id": "k={key}&id=mail-0001-0001",
    "time": "k={key}&time=1795960353442",
    "name": "k={key}&name=order",
    "site": "k={key}&site=blog.example",
    "client": "k={key}&client=203.0.113.7",
    "dry run": "k={key}&dry_run=1",
    "thousands of parameters": "k={key}" + "&a" * 3000,
    "only signs": "&" * 8000,
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_query_takes_three_names_once(pixels: Pixels, query: str) -> None:
    assert pixels.refused(query.format(key=pixels.page)) == (400, "query")


REJECTED = {
    "": "url_too_short",
    "/pricing": "url_invalid",
    "javascript:alert(1)": "url_invalid",
    "https://shop.example/\x1b[31m": "url_invalid",
    f"https://shop.example/{'a' * 2000}": "url_too_long",
}


@pytest.mark.parametrize(("url", "code"), REJECTED.items(), ids=[*range(len(REJECTED))])
def test_address_of_the_page_is_checked_as_any_events(pixels: Pixels, url: str, code: str) -> None:
    assert pixels.refused(agreed(pixels.page, url=url)) == (422, code)


def test_address_with_a_long_query_is_cut(pixels: Pixels) -> None:
    url = f"https://shop.example/a?utm_source=mail&b={'b' * 2500}"
    assert pixels.stored(agreed(pixels.page, url=url))["url"] == "https://shop.example/a?utm_source=mail"


NOES: dict[str, tuple[str, dict[str, str], str]] = {
    "no word": ("k={key}", {}, "consent"),
    "another word": ("k={key}&consent=denied", {}, "consent"),
    "an empty word": ("k={key}&consent=", {}, "consent"),
    "GPC": ("k={key}&consent=granted", {"Sec-GPC": "1"}, "consent"),
    "DNT": ("k={key}&consent=granted", {"DNT": "1"}, "consent"),
    "a cookie": ("k={key}&consent=granted", {"Cookie": "analytics_consent=declined"}, "consent"),
    "prefetch": ("k={key}&consent=granted", {"Sec-Purpose": "prefetch"}, "prerender"),
    "prerender": ("k={key}&consent=granted", {"Sec-Purpose": "prefetch;prerender"}, "prerender"),
    "an older prefetch": ("k={key}&consent=granted", {"Purpose": "prefetch"}, "prerender"),
    "X-Moz": ("k={key}&consent=granted", {"X-Moz": "prefetch"}, "prerender"),
    "own traffic": ("k={key}&consent=granted", {"X-Forwarded-For": "192.0.2.9"}, "excluded_network"),
}


@pytest.mark.parametrize(("query", "headers", "code"), NOES.values(), ids=NOES)
def test_no_is_heard(pixels: Pixels, query: str, headers: dict[str, str], code: str) -> None:
    assert pixels.refused(query.format(key=pixels.page), headers) == (403, code)


def test_cookie_of_the_same_host_is_a_yes(pixels: Pixels) -> None:
    line = pixels.stored({"k": pixels.page}, {"Cookie": "analytics_consent=granted"})
    assert line["consent"] == "granted"


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
def test_only_get_counts(pixels: Pixels, method: str) -> None:
    before = pixels.worker.position()
    answer = pixels.worker.request(method, f"{PIXEL}?{urlencode(agreed(pixels.page))}")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert pixels.worker.appended(before) == []


def test_full_disk_is_said_and_not_hidden(tmp_path: Path) -> None:
    with Worker(tmp_path, disk_reserve=str(1 << 60), consent="implied") as worker:
        answer = worker.request("GET", f"{PIXEL}?k={key_of(worker.data, SITE, 'mail_open')}")
        assert (answer.status, answer.body, answer.headers["Foldlog-Problem"]) == (507, GIF, "disk_reserve")
        assert answer.headers["Retry-After"] == "30"


def statuses(worker: Worker, key: str, addresses: list[str]) -> list[int]:
    return [
        worker.request("GET", f"{PIXEL}?k={key}", headers={"X-Forwarded-For": address}).status for address in addresses
    ]


def test_address_and_key_have_a_limit_each(tmp_path: Path) -> None:
    settings = {"trusted_proxies": "127.0.0.1", "consent": "implied", "rate_window_ms": "3600000"}
    with Worker(tmp_path, rate_limit="3", rate_limit_pixel="5", **settings) as worker:
        first, second = (key_of(worker.data, SITE, "mail_open") for _ in range(2))
        # One address uses up what is its own, and not what is the key's.
        assert statuses(worker, first, ["203.0.113.1"] * 6) == [200] * 3 + [429] * 3
        # Others share what is left of the key's.
        assert statuses(worker, first, [f"203.0.113.{n}" for n in range(2, 6)]) == [200] * 2 + [429] * 2
        # Another key is another one.
        assert statuses(worker, second, ["203.0.113.9"]) == [200]
        # What no key is counts for none, and is never remembered.
        assert statuses(worker, f"{first}x", ["203.0.113.10"] * 9) == [403] * 9
        assert statuses(worker, second, ["203.0.113.10"]) == [200]


def test_keys_that_are_none_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the table of limits nor in what the worker remembers of tokens."""
    with Worker(tmp_path, consent="implied") as worker:
        real = key_of(worker.data, SITE, "mail_open")
        counted: list[str] = []
        monkeypatch.setattr(worker.context.rate_limiter, "check_secret", lambda name, *_: counted.append(name))
        for number in range(300):
            assert worker.request("GET", f"{PIXEL}?k={real}{number}").status == 403
        assert counted == []
        assert worker.request("GET", f"{PIXEL}?k={real}").status == 200
        assert len(counted) == 1 and real not in counted[0]
        assert not worker.context.token_guesses._looked_at


def test_key_says_what_its_events_are() -> None:
    assert parse_pixel_key("1f0c93ab~shop.example~mail_open/may~x-_") == (SITE, "mail_open", "may")
    assert parse_pixel_key("1f0c93ab~[2001:db8::7]~pageview~x") == ("[2001:db8::7]", "pageview", "")
