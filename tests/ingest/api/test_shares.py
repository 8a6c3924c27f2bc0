"""Share links: what one opens, what it does not, and that it ends at once. A hostile
client has the link of one site.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.http.token_guesses import MANY, TokenGuesses
from ingest.routes import ROUTES
from ingest.share_links.links import LINKS_MAX, new_link
from ingest.share_links.links_file import add_link, read_links
from ingest.share_links.session import HEADER
from shared.tokens import create_token
from tests.builders.marked_sites import MARK, OTHER, OWN, send_marked
from tests.builders.server import ADMIN_TOKEN, Answer, bearer
from tests.builders.visits import D1, D2
from tests.builders.waiting import until
from tests.builders.worker import Worker

SHARES, SESSION = "/admin/api/shares", "/admin/api/share-session"
JSON = {"Content-Type": "application/json"}
PASSWORD = "correct horse"  # noqa: S105
REPORT = f"/admin/api/report?from={D1}&to={D2}"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("shares"), sites=f"{OWN},{OTHER}") as running:
        send_marked(running, {OWN: ("mine", 3), OTHER: (MARK, 7)})
        yield running
        assert "request_failed" not in running.log.events()


@pytest.fixture(autouse=True)
def no_guesses_before(worker: Worker) -> None:
    worker.context.token_guesses = TokenGuesses(-1)


def make(worker: Worker, **more: Any) -> dict[str, Any]:
    body = json.dumps({"site": OWN, "name": "For the shop", **more}).encode()
    answer = worker.request("POST", SHARES, body, JSON | bearer(ADMIN_TOKEN))
    assert answer.status == 201, answer.body
    return dict(answer.json())


def open_link(worker: Worker, link: dict[str, Any], /, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    body = json.dumps({"id": link["id"], "secret": link["secret"], **more}).encode()
    return worker.request("POST", SESSION, body, JSON | (headers or {}))


def cookie_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return str(answer.headers["Set-Cookie"]).partition(";")[0]


def by_link(link: dict[str, Any], cookie: str) -> dict[str, str]:
    return {HEADER: str(link["id"]), "Cookie": cookie}


def test_link_opens_the_reports_of_its_site_and_no_other(worker: Worker) -> None:
    link = make(worker)
    assert re.fullmatch(r"share/[0-9a-f]{8}#[\w-]{32}", link["path"]) and "embed_path" not in link
    opened = open_link(worker, link)
    assert opened.json() == {"site": OWN, "name": "For the shop", "lifetime_s": 12 * 3600}
    headers = by_link(link, cookie_of(opened))
    found = worker.request("GET", f"{REPORT}&by=path", headers=headers)
    assert found.status == 200, found.body
    assert found.json()["total"]["events"] == 3 and MARK.encode() not in found.body
    for more in (f"&site={OTHER}", f"&site={OWN}&site={OTHER}", f"&filter=site=={OTHER}", "&by=site"):
        answer = worker.request("GET", f"{REPORT}{more}", headers=headers)
        assert MARK.encode() not in answer.body and OTHER.encode() not in answer.body
        assert answer.status in {400, 403} or answer.json()["total"]["events"] in {0, 3}
    assert worker.request("GET", "/admin/api/live", headers=headers).status == 200
    assert worker.request("GET", "/admin/api/status", headers=headers).json()["sites"] == [OWN]


# What a link may ask.
OPEN = {"batch", "report", "live", "cohorts", "funnel", "paths", "goals/report", "status"}


def test_link_reaches_nothing_else_below_admin(worker: Worker) -> None:
    link = make(worker, embed=["blog.example"])
    cookie = cookie_of(open_link(worker, link))
    session = open_link(worker, link, embed=True).json()["session"]
    tried = 0
    for method, path, _ in ROUTES:
        if not path.startswith("/admin/api/") or path == SESSION or (method == "GET" and path[11:] in OPEN):
            continue
        for headers in (by_link(link, cookie), {"Cookie": cookie}, {HEADER: session}):
            body = b'{"name":"a","filter":"path==/a","scope":"admin"}' if method in {"POST", "PUT"} else None
            answer = worker.request(method, path.replace("{id}", str(link["id"])), body, JSON | headers)
            assert answer.status in {401, 403}, (method, path, answer.body)
            tried += 1
    assert tried >= 40
    assert [each.id for each in read_links(worker.data).links if each.id == link["id"]] == [link["id"]]


@pytest.mark.parametrize("path", sorted(OPEN))
def test_cookie_alone_or_without_the_header_reads_nothing(worker: Worker, path: str) -> None:
    """A page of another site can make a browser send neither."""
    link = make(worker)
    cookie = cookie_of(open_link(worker, link))
    for headers in ({"Cookie": cookie}, {HEADER: str(link["id"])}, {HEADER: "x", "Cookie": cookie}):
        assert worker.request("GET", f"/admin/api/{path}", headers=headers).status in {401, 403}
    crossed = by_link(link, cookie) | {"Sec-Fetch-Site": "cross-site"}
    assert worker.request("GET", f"/admin/api/{path}", headers=crossed).code == "origin"


def test_cookie_is_for_this_browser_and_path_alone(worker: Worker) -> None:
    link = make(worker)
    plain = open_link(worker, link).headers["Set-Cookie"]
    assert "; HttpOnly; SameSite=Strict" in plain and "Path" not in plain and "Secure" not in plain
    own = f"https://127.0.0.1:{worker.port}"
    crossed = open_link(worker, link, headers={"Origin": own, "Sec-Fetch-Site": "same-origin"}).headers["Set-Cookie"]
    assert crossed.endswith("; Secure")


def test_link_that_is_revoked_ends_with_the_next_request(worker: Worker) -> None:
    link = make(worker)
    headers = by_link(link, cookie_of(open_link(worker, link)))
    assert worker.request("GET", REPORT, headers=headers).status == 200
    until(lambda: listed(worker, link)["last_used"] is not None)
    assert worker.request("DELETE", f"{SHARES}/{link['id']}", headers=bearer(ADMIN_TOKEN)).status == 204
    assert worker.request("GET", REPORT, headers=headers).code == "share"
    assert open_link(worker, link).code == "share"
    assert worker.request("DELETE", f"{SHARES}/{link['id']}", headers=bearer(ADMIN_TOKEN)).code == "no_such_name"


def listed(worker: Worker, link: dict[str, Any]) -> dict[str, Any]:
    (found,) = [each for each in worker.get(SHARES).json()["shares"] if each["id"] == link["id"]]
    return dict(found)


def test_link_and_session_expire(worker: Worker) -> None:
    now = time.time()
    link = make(worker, expires=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 20 * 3600)))
    headers = by_link(link, cookie_of(open_link(worker, link)))
    clock = worker.context.now_ms
    try:
        worker.context.now_ms = lambda: clock() + 11 * 3_600_000
        assert worker.request("GET", REPORT, headers=headers).status == 200
        worker.context.now_ms = lambda: clock() + 13 * 3_600_000
        assert worker.request("GET", REPORT, headers=headers).code == "share", "the session is over"
        headers = by_link(link, cookie_of(open_link(worker, link)))
        worker.context.now_ms = lambda: clock() + 21 * 3_600_000
        assert worker.request("GET", REPORT, headers=headers).code == "share", "the link is over"
        assert open_link(worker, link).code == "share"
        assert listed(worker, link)["has_expired"]
    finally:
        worker.context.now_ms = clock


def test_no_session_can_be_made_of_another(worker: Worker) -> None:
    link, other = make(worker, embed=["blog.example"]), make(worker)
    cookie = cookie_of(open_link(worker, link))
    name, _, session = cookie.partition("=")
    expires, _, mac = session.partition(".")
    later = f"{int(expires, 16) + 86_400:x}"
    forged = [
        *(
            f"{later}.{mac}",
            f"{expires}.{mac[:-1]}",
            f"{expires}.{'0' * 64}",
            f"{expires}.",
            ".",
            "",
            mac,
            f"{session}0",
        ),
        *(session.upper(), f" {session}x", "é", "0" * 4000),
    ]
    for each in forged:
        headers = {HEADER: str(link["id"]), "Cookie": f"{name}={each}".encode().decode("latin-1")}
        assert worker.request("GET", REPORT, headers=headers).code == "share", each
    assert worker.request("GET", REPORT, headers={HEADER: f"{link['id']}.{session}"}).code == "share", (
        "no cookie is one"
    )
    moved = {HEADER: str(other["id"]), "Cookie": f"foldlog_share_{other['id']}={session}"}
    assert worker.request("GET", REPORT, headers=moved).code == "share", "of another link"
    twice = {HEADER: str(link["id"]), "Cookie": f"{cookie}; {name}=x"}
    assert worker.request("GET", REPORT, headers=twice).code == "share"
    among = {HEADER: str(link["id"]), "Cookie": f"a=b; {cookie}; c"}
    assert worker.request("GET", REPORT, headers=among).status == 200


def test_embedded_page_sends_its_session_in_a_header(worker: Worker) -> None:
    link = make(worker, embed=["blog.example", "shop.example:8443"])
    assert link["embed_path"].startswith(f"embed/{link['id']}#")
    opened = open_link(worker, link, embed=True)
    assert "Set-Cookie" not in opened.headers and opened.json()["lifetime_s"] == 3600
    assert worker.request("GET", REPORT, headers={HEADER: opened.json()["session"]}).status == 200
    framed = worker.request("GET", f"/embed/{link['id']}")
    policy = str(framed.headers["Content-Security-Policy"])
    assert framed.status == 200
    wanted = "https://blog.example http://blog.example https://shop.example:8443 http://shop.example:8443"
    assert f"frame-ancestors {wanted};" in policy and "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in worker.request("GET", f"/share/{link['id']}").headers["Content-Security-Policy"]


def test_link_that_may_not_be_framed_is_not(worker: Worker) -> None:
    link = make(worker)
    assert open_link(worker, link, embed=True).code == "share"
    for id_ in (link["id"], "00000000", "x"):
        assert worker.request("GET", f"/embed/{id_}").status == 404


def test_page_is_the_same_for_any_link(worker: Worker) -> None:
    link = make(worker)
    real, none = (worker.request("GET", f"/share/{id_}") for id_ in (link["id"], "00000000"))
    assert (real.status, real.body, real.headers["ETag"]) == (none.status, none.body, none.headers["ETag"])


def test_password_is_asked_for_and_kept_as_a_hash(worker: Worker) -> None:
    link = make(worker, password=PASSWORD)
    assert listed(worker, link)["has_password"]
    assert open_link(worker, link).code == "password"
    assert open_link(worker, link, password=f"not {PASSWORD}").code == "password"
    assert open_link(worker, link, password=PASSWORD).status == 200
    kept = worker.data.shares.read_text("utf-8")
    assert "horse" not in kept and link["secret"] not in kept and "scrypt$" in kept
    assert worker.data.shares.stat().st_mode & 0o777 == 0o600
    wrong = link | {"secret": "x" * 32}
    assert open_link(worker, wrong, password=PASSWORD).code == "share"
    assert link["secret"] not in repr(worker.log.entries)


def test_guesses_of_links_and_passwords_are_limited(worker: Worker) -> None:
    """All within one moment, however slow the machine is."""
    link = make(worker, password=PASSWORD)
    worker.context.token_guesses = TokenGuesses(-1, lambda: 10**18, delay_s=0)
    found = [open_link(worker, link | {"secret": f"guess-{number}"}).status for number in range(MANY + 5)]
    assert found == [403] * (MANY + 1) + [429] * 4
    worker.context.token_guesses = TokenGuesses(-1, lambda: 10**18, delay_s=0)
    tries, looked_at = worker.context.password_tries, 0
    is_right = tries.is_right

    async def counted(_given: str, _kept: str) -> bool:
        nonlocal looked_at
        looked_at += 1
        return False

    tries.is_right = counted  # type: ignore[method-assign, assignment]
    try:
        statuses = [open_link(worker, link, password=f"guess-{number}").status for number in range(MANY + 5)]
    finally:
        tries.is_right = is_right  # type: ignore[method-assign]
    assert statuses == [403] * (MANY + 1) + [429] * 4
    assert looked_at == MANY + 1, "what is refused is not hashed"


def test_wrong_passwords_at_once_delay_no_event_and_cost_one_hash_at_a_time(worker: Worker) -> None:
    """A hundred at once: some are hashed, one after the other; the rest is refused."""
    link = make(worker, password=PASSWORD)
    found: list[int] = []

    def guess(number: int) -> None:
        found.append(open_link(worker, link, password=f"wrong horse {number}").status)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    waited = []
    for _ in range(10):
        begun = time.monotonic()
        assert worker.post([{"name": "a", "site": OWN}]).status == 200
        waited.append(time.monotonic() - begun)
    for thread in threads:
        thread.join()
    assert set(found) <= {403, 429, 503} and {429, 503} & set(found)
    assert len(found) == 100


def test_pages_of_a_link_are_counted_for_each_address(tmp_path: Path) -> None:
    """One that asks too often keeps no other reader of the link from it."""
    proxies = {"trusted_proxies": "127.0.0.1", "rate_limit_token": 3}
    with Worker(tmp_path, sites=OWN, **proxies) as limited:
        link = make(limited)
        by = by_link(link, cookie_of(open_link(limited, link)))

        def asked(address: str) -> int:
            headers = by | {"X-Forwarded-For": address}
            return limited.request("GET", "/admin/api/status", headers=headers).status

        often = [asked("203.0.113.7") for _ in range(8)]
        assert often.count(429) >= 2 and set(often) == {200, 429}
        assert asked("203.0.113.8") == 200


REJECTED: dict[str, tuple[Any, tuple[int, str]]] = {
    "share: no JSON": (b"{", (400, "malformed")),
    "share: no site": ({"name": "a"}, (422, "invalid")),
    "share: no name": ({"site": OWN}, (422, "invalid")),
    "share: a name with a control character": ({"site": OWN, "name": "a\u202eb"}, (422, "invalid")),
    "share: a site that is not listed": ({"site": "nothing.example", "name": "a"}, (422, "invalid")),
    "share: a short password": ({"site": OWN, "name": "a", "password": "short"}, (422, "invalid")),
    "share: a password of a thousand characters": (
        {"site": OWN, "name": "a", "password": "x" * 1000},
        (422, "invalid"),
    ),
    "share: a time that is over": ({"site": OWN, "name": "a", "expires": "2020-01-01T00:00:00Z"}, (422, "invalid")),
    "share: a time without a zone": ({"site": OWN, "name": "a", "expires": "2099-01-01T00:00:00"}, (422, "invalid")),
    "share: no time": ({"site": OWN, "name": "a", "expires": "tomorrow"}, (422, "invalid")),
    "share: a wildcard that may frame it": ({"site": OWN, "name": "a", "embed": ["*"]}, (422, "invalid")),
    "share: another directive": ({"site": OWN, "name": "a", "embed": ["a.example; script-src *"]}, (422, "invalid")),
    "share: a host with a new line": ({"site": OWN, "name": "a", "embed": ["a.example\n"]}, (422, "invalid")),
    "share: 21 hosts": ({"site": OWN, "name": "a", "embed": ["a.example"] * 21}, (422, "invalid")),
    "share: a secret of one's own": ({"site": OWN, "name": "a", "secret": "x"}, (422, "invalid")),
    "share: 20 KB": (b" " * 20_000, (413, "too_large")),
}


@pytest.mark.parametrize(("body", "expected"), REJECTED.values(), ids=REJECTED)
def test_what_is_no_new_link_is_refused(worker: Worker, body: Any, expected: tuple[int, str]) -> None:
    before = len(read_links(worker.data).links)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = worker.request("POST", SHARES, content, JSON | bearer(ADMIN_TOKEN))
    assert (answer.status, answer.code) == expected
    assert len(read_links(worker.data).links) == before


NOT_OPENED: dict[str, tuple[bytes, dict[str, str], tuple[int, str]]] = {
    "session: no JSON": (b"", JSON, (400, "malformed")),
    "session: a form": (b"{}", {"Content-Type": "text/plain"}, (415, "media_type")),
    "session: no secret": (b'{"id":"00000000"}', JSON, (422, "invalid")),
    "session: an id that is none": (b'{"id":"../tokens","secret":"x"}', JSON, (422, "invalid")),
    "session: an unknown id": (b'{"id":"00000000","secret":"x"}', JSON, (403, "share")),
    "session: from another site": (b"{}", JSON | {"Sec-Fetch-Site": "cross-site"}, (403, "origin")),
    "session: a long secret": (b'{"id":"00000000","secret":"' + b"x" * 300 + b'"}', JSON, (422, "invalid")),
}


@pytest.mark.parametrize(("body", "headers", "expected"), NOT_OPENED.values(), ids=NOT_OPENED)
def test_what_opens_no_link(worker: Worker, body: bytes, headers: dict[str, str], expected: tuple[int, str]) -> None:
    answer = worker.request("POST", SESSION, body, headers)
    assert (answer.status, answer.code) == expected
    assert "Set-Cookie" not in answer.headers and "WWW-Authenticate" not in answer.headers


def test_only_an_admin_of_all_sites_manages_links(worker: Worker) -> None:
    link = make(worker)
    secrets = [create_token(worker.data, "read")[1], create_token(worker.data, "admin", sites=[OWN])[1]]
    for secret in secrets:
        for method, path in (("GET", SHARES), ("POST", SHARES), ("DELETE", f"{SHARES}/{link['id']}")):
            body = json.dumps({"site": OWN, "name": "a"}).encode() if method == "POST" else None
            assert worker.request(method, path, body, JSON | bearer(secret)).code == "scope"
    assert link["secret"].encode() not in worker.get(SHARES).body


def test_damaged_file_opens_nothing_and_the_next_link_begins_another(worker: Worker) -> None:
    link = make(worker)
    headers = by_link(link, cookie_of(open_link(worker, link)))
    whole = worker.data.shares.read_bytes()
    entries = json.loads(whole)
    (own,) = [each for each in entries if each["id"] == link["id"]]
    worker.data.shares.write_text(json.dumps([own, {"id": "x"}, 7]))
    assert worker.request("GET", REPORT, headers=headers).status == 200
    assert "2 of 3" in worker.get(SHARES).json()["reason"]
    worker.data.shares.write_bytes(b"{")
    assert worker.request("GET", REPORT, headers=headers).code == "share"
    again = make(worker)
    assert open_link(worker, again).status == 200
    worker.data.shares.write_bytes(whole)
    assert worker.request("GET", REPORT, headers=headers).status == 200


def test_there_are_so_many_links_and_no_more(worker: Worker) -> None:
    kept = worker.data.shares.read_bytes()
    one, _ = new_link(OWN, "a")
    add_link(worker.data, one)
    entries = json.loads(worker.data.shares.read_bytes())
    (own,) = [each for each in entries if each["id"] == one.id]
    worker.data.shares.write_text(json.dumps([own | {"id": f"{number:08x}"} for number in range(LINKS_MAX)]))
    body = json.dumps({"site": OWN, "name": "one more"}).encode()
    answer = worker.request("POST", SHARES, body, JSON | bearer(ADMIN_TOKEN))
    assert (answer.status, answer.code) == (409, "too_many")
    worker.data.shares.write_bytes(kept)
