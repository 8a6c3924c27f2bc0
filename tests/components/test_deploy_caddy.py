"""Debian's Caddy in front of a real server, configured as docs/deploy-caddy.md says.

The configuration is read from the page; the address, the certificate's absence and
paths are put in, and nothing else is changed. Clients with different addresses are
connections from 127.0.0.2 and 127.0.0.3; 127.0.0.1 is Caddy itself.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ingest.collect.admission import KEY_BODY_MAX_BYTES
from shared.settings import Settings
from tests.builders.caddy import PAGE, SITE, WHO_MAY, Caddy, program
from tests.builders.nginx import SITE_PAGE
from tests.builders.pages import first_curl, page
from tests.builders.proxy import (
    FIRST,
    HOST,
    ORIGIN,
    OTHER_HOSTS,
    SECOND,
    accept,
    batch,
    forged,
    from_page,
    is_turned_away,
    nobody_connects,
    padded,
    read_request,
    stored,
)
from tests.builders.server import ADMIN_TOKEN, Server, bearer, is_limited_to_three, keyed, read_answer
from tests.builders.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program()  # without Caddy no server is started
    with Server(tmp_path_factory.mktemp("server"), trusted_proxies="127.0.0.1") as started:
        yield started


@pytest.fixture(scope="module")
def caddy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    with Caddy(tmp_path_factory.mktemp("front") / "caddy", server.host) as started:
        yield started


def test_caddy_finds_nothing_wrong_with_the_documented_file(caddy: Caddy) -> None:
    checked = caddy.run("validate")
    warnings = [line for line in checked.stderr.splitlines() if 'level":"warn' in line and "HTTP port" not in line]
    assert (checked.returncode, warnings) == (0, [])


def test_limits_of_the_file_fit_those_of_foldlog() -> None:
    idle = re.search(r"keepalive (\d+)s", SITE)
    largest = re.search(r"max_size (\d+)MiB", SITE)
    assert idle and int(idle[1]) < Settings().keep_alive
    assert largest and int(largest[1]) << 20 == KEY_BODY_MAX_BYTES


def test_documented_check_is_answered_200(caddy: Caddy, server: Server) -> None:
    check = first_curl(page(PAGE))
    assert check.url == f"{ORIGIN}/v1/events"
    assert caddy.request("POST", "/v1/events", check.data.encode("utf-8"), check.headers).status == 200
    (line,) = stored(server, "proxy-check")
    assert line["site"] == HOST


@pytest.mark.parametrize("host", OTHER_HOSTS)
@pytest.mark.parametrize("headers", [from_page(), keyed()], ids=["page", "key"])
def test_other_host_gets_no_answer_and_makes_no_site(
    caddy: Caddy, server: Server, host: str, headers: dict[str, str]
) -> None:
    assert is_turned_away(caddy, "of-another-host", host, headers)
    assert stored(server, "of-another-host") == []


@pytest.mark.parametrize(
    "headers",
    [
        from_page("https://evil.example"),
        from_page(None),
        forged("X-Forwarded-Host", "evil.example", "https://evil.example"),
        from_page("https://127.0.0.1"),  # the upstream's name
    ],
    ids=["foreign origin", "no origin", "forged host", "origin of the upstream"],
)
def test_other_origin_is_refused_with_foldlogs_own_answer(caddy: Caddy, headers: dict[str, str]) -> None:
    answer = caddy.post([{"name": "refused"}], headers)
    assert (answer.status, answer.code) == (403, "origin")


def test_clients_are_told_apart_by_the_address_that_caddy_saw(caddy: Caddy, server: Server) -> None:
    for name, client in (("from-first", FIRST), ("from-first", FIRST), ("from-second", SECOND)):
        assert caddy.post([{"name": name}], from_page(), client).status == 200
    first = {line["visitor"] for line in stored(server, "from-first")}
    second = {line["visitor"] for line in stored(server, "from-second")}
    assert len(first) == len(second) == 1 and first != second


@pytest.mark.parametrize("hop", ["203.0.113.7", "127.0.0.1", f"{SECOND}, 127.0.0.1", "not an address"])
def test_forged_hop_does_not_change_the_visitor(caddy: Caddy, server: Server, hop: str) -> None:
    name = f"forged-{hop.encode().hex()}"
    assert caddy.post([{"name": name}], from_page()).status == 200
    assert caddy.post([{"name": name}], forged("X-Forwarded-For", hop)).status == 200
    honest, lying = stored(server, name)
    assert honest["visitor"] == lying["visitor"]


@pytest.mark.parametrize("given", ["chosen-by-the-client", "x" * 4_000])
def test_request_id_is_caddys_own(caddy: Caddy, given: str) -> None:
    answer = caddy.post([{"name": "refused"}], from_page("https://evil.example") | {"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f-]{36}", answer.headers["X-Request-Id"])


def test_limit_is_for_each_client_and_no_forged_hop_gets_around_it(tmp_path: Path) -> None:
    program()
    with (
        Server(tmp_path, trusted_proxies="127.0.0.1", rate_limit=3) as server,
        Caddy(tmp_path / "caddy", server.host) as caddy,
    ):
        sent = [caddy.post([{"name": "pageview"}], forged("X-Forwarded-For", f"203.0.113.{n}")) for n in range(5)]
        assert is_limited_to_three(sent)
        assert caddy.post([{"name": "pageview"}], from_page(), SECOND).status == 200


def test_body_over_the_limit_is_refused(caddy: Caddy) -> None:
    assert caddy.request("POST", "/v1/events", padded(KEY_BODY_MAX_BYTES), keyed()).status == 200
    assert caddy.request("POST", "/v1/events", padded(Settings().max_body_bytes), from_page()).status == 200
    assert caddy.request("POST", "/v1/events", padded(Settings().max_body_bytes + 1), from_page()).code == "too_large"


def test_body_over_the_limit_of_caddy_never_becomes_an_event(caddy: Caddy, server: Server) -> None:
    """Without a length in the head Caddy counts as it passes the body on, and breaks
    off.
    """
    before = len(server.lines())
    with closing(caddy.session()) as connection:
        blocks = iter([padded(KEY_BODY_MAX_BYTES), b" " * 65536, b" " * 65536])
        connection.request("POST", "/v1/events", blocks, {"Host": HOST, **keyed()}, encode_chunked=True)
        assert connection.getresponse().status in {400, 413, 502}
    assert len(server.lines()) == before


def test_many_posts_over_one_connection(caddy: Caddy, server: Server) -> None:
    with closing(caddy.session()) as connection:
        for _ in range(200):
            connection.request("POST", "/v1/events", batch([{"name": "one-of-many"}]), {"Host": HOST, **from_page()})
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["accepted"]) == (200, 1)
    assert len(stored(server, "one-of-many")) == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/healthz", "/readyz", "/metrics", "/openapi.json", "//healthz", "/healthz/", "/%68ealthz"),
        *("/admin/../healthz", "/admin/%2e%2e/healthz", "/v1/events/../../healthz"),
    ],
)
def test_what_is_for_the_inside_is_not_passed_on(caddy: Caddy, path: str) -> None:
    answer = caddy.request("GET", path)
    assert answer.status == 404 and b"ok" not in answer.body, answer


def test_site_itself_is_still_served(caddy: Caddy) -> None:
    assert caddy.request("GET", "/").body == SITE_PAGE


@pytest.mark.parametrize("path", ["/tracker.js", "/tracker.v1.js"])
def test_browser_script_is_passed_on(caddy: Caddy, path: str) -> None:
    answer = caddy.request("GET", path)
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/javascript")


def test_pixel_is_passed_on(caddy: Caddy) -> None:
    answer = caddy.request("GET", "/v1/pixel.gif?k=x")
    assert (answer.status, answer.headers["Foldlog-Problem"], len(answer.body)) == (403, "pixel", 43)


def test_dashboard_works_with_the_token(caddy: Caddy) -> None:
    assert caddy.request("GET", "/admin").headers["Location"] == "/admin/"
    opened = caddy.request("GET", "/admin/")
    assert opened.status == 200 and "frame-ancestors 'none'" in opened.headers["Content-Security-Policy"]
    assert caddy.request("GET", "/admin/js/main.js").status == 200
    refused = caddy.request("GET", "/admin/api/status")
    assert (refused.status, refused.code) == (401, "token")
    token = bearer(ADMIN_TOKEN)
    assert caddy.request("GET", "/admin/api/status", headers=token).status == 200
    assert caddy.post([{"name": "exported"}], from_page()).status == 200
    assert caddy.request("POST", "/admin/api/fold", b"", token | {"Origin": ORIGIN}).status == 200
    exported = caddy.request("GET", "/admin/api/export", headers=token).body.decode("utf-8").splitlines()
    assert "exported" in [json.loads(line)["event"] for line in exported]


def test_only_whom_the_page_lets_in_gets_to_the_dashboard_and_the_metrics(tmp_path: Path, server: Server) -> None:
    who_may = WHO_MAY.replace("203.0.113.0/24", f"{SECOND}/32").replace("203.0.113.5", SECOND)
    site = SITE.replace("\thandle /v1/events {", f"{who_may}\n\thandle /v1/events {{")
    assert site != SITE
    with Caddy(tmp_path / "caddy", server.host, site) as caddy:
        for path, headers in (("/admin/", {}), ("/healthz", {}), ("/admin/api/status", bearer(ADMIN_TOKEN))):
            assert caddy.request("GET", path, headers=headers, client=SECOND).status == 200
            assert caddy.request("GET", path, headers=headers, client=FIRST).status in {403, 404}
        assert caddy.request("GET", "/openapi.json", client=SECOND).status == 404
        assert caddy.post([{"name": "pageview"}], from_page()).status == 200


def test_request_is_passed_on_once(tmp_path: Path) -> None:
    """A socket stands for Foldlog here, since it must do what Foldlog does only when it
    dies: take a POST and not answer.
    """
    body = batch([{"name": "pageview"}])
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: "
        f"evil.example\r\n"
    )
    sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        with Caddy(tmp_path / "caddy", f"127.0.0.1:{upstream.getsockname()[1]}") as caddy:
            with caddy.connect(FIRST) as connection:
                connection.sendall(sent)
                kept = accept(upstream)
                headers, received = read_request(kept)
                assert received == body
                assert headers["Host"] == headers["X-Forwarded-Host"] == HOST
                assert headers["X-Forwarded-For"] == FIRST
                kept.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                assert read_answer(connection).status == 200

                connection.sendall(sent)
                assert read_request(kept)[1] == body  # over the connection that was kept
                kept.close()
                assert read_answer(connection).status == 502
                assert nobody_connects(upstream)
            upstream.close()
            assert caddy.post([{"name": "pageview"}], from_page()).status == 502
        assert FIRST not in caddy.messages.read_text() and "203.0.113.7" not in caddy.messages.read_text()


def test_address_of_a_visitor_stays_nowhere(tmp_path: Path, server: Server) -> None:
    """P11, with Caddy in the way: not in its logs either, whatever becomes of the
    event.
    """
    with Caddy(tmp_path / "caddy", server.host) as caddy:
        assert caddy.post([{"name": "pageview"}], from_page()).status == 200
        assert caddy.post([{"name": "pageview"}], from_page(None)).status == 403
        assert caddy.request("POST", "/v1/events", padded(100_000), from_page()).status == 413
        assert caddy.request("POST", "/v1/events?dry_run=1", b"", from_page()).status == 400
        assert caddy.request("GET", "/").status == 200
        # What is not an event is logged; once this line is there, those of the requests
        # before it would be.
        until(lambda: caddy.access_log.exists() and FIRST in caddy.access_log.read_text(), caddy.messages.read_text)
        assert caddy.access_log.read_text().count("\n") == 1 and "/v1/events" not in caddy.access_log.read_text()
    assert FIRST not in caddy.messages.read_text()
