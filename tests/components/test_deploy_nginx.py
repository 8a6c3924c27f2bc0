"""Debian's nginx in front of a real server, configured as docs/deploy-nginx.md says.

The configuration is read from the page; ports, addresses and paths are put in, and
nothing else is changed. To nginx all of 127.0.0.0/8 is local, so clients with different
addresses are connections from 127.0.0.2, 127.0.0.3 and so on; 127.0.0.1 is nginx
itself, which Foldlog trusts.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ingest.collect.admission import KEY_BODY_MAX_BYTES
from shared.settings import Settings
from tests.builders.nginx import INSIDE, PAGE, SHORTENED, SITE, SITE_PAGE, Nginx, program
from tests.builders.pages import first_curl, page
from tests.builders.proxy import (
    AGENT,
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
from tests.builders.server import ADMIN_TOKEN, Answer, Server, bearer, is_limited_to_three, keyed, read_answer
from tests.builders.waiting import TIMEOUT_S, until

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program()  # without nginx no server is started
    with Server(tmp_path_factory.mktemp("server"), trusted_proxies="127.0.0.1") as started:
        yield started


@pytest.fixture(scope="module")
def nginx(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("front") / "nginx", server.host) as started:
        yield started


def test_nginx_finds_nothing_wrong_with_the_documented_block(nginx: Nginx) -> None:
    checked = subprocess.run(nginx.configured("-t"), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert checked.returncode == 0 and "[warn]" not in checked.stderr, checked.stderr


def test_limits_of_the_block_fit_those_of_foldlog() -> None:
    idle = re.search(r"keepalive_timeout (\d+)s;", SITE)
    largest = re.search(r"client_max_body_size (\d+)m;", SITE)
    assert idle and int(idle[1]) < Settings().keep_alive
    assert largest and int(largest[1]) << 20 == KEY_BODY_MAX_BYTES


def test_event_of_the_sites_page_is_stored(nginx: Nginx, server: Server) -> None:
    assert nginx.post([{"name": "of-the-site"}], from_page()).status == 200
    (line,) = stored(server, "of-the-site")
    assert line["site"] == HOST and line["ua"] == AGENT


def test_documented_check_is_answered_200(nginx: Nginx, server: Server) -> None:
    check = first_curl(page(PAGE))
    assert check.url == f"{ORIGIN}/v1/events"
    assert nginx.request("POST", "/v1/events", check.data.encode("utf-8"), check.headers).status == 200
    (line,) = stored(server, "proxy-check")
    assert line["site"] == HOST


@pytest.mark.parametrize("host", OTHER_HOSTS)
@pytest.mark.parametrize("headers", [from_page(), keyed()], ids=["page", "key"])
def test_other_host_gets_no_answer_and_makes_no_site(
    nginx: Nginx, server: Server, host: str, headers: dict[str, str]
) -> None:
    assert is_turned_away(nginx, "of-another-host", host, headers)
    assert stored(server, "of-another-host") == []


@pytest.mark.parametrize(
    "headers",
    [
        from_page("https://evil.example"),
        from_page("https://evil.example", **{"Sec-Fetch-Site": "cross-site"}),
        from_page(None),
        forged("X-Forwarded-Host", "evil.example", "https://evil.example"),
        from_page("https://foldlog"),  # the upstream's name
    ],
    ids=["foreign origin", "foreign page", "no origin", "forged host", "origin of the upstream"],
)
def test_other_origin_is_refused_with_foldlogs_own_answer(nginx: Nginx, headers: dict[str, str]) -> None:
    answer = nginx.post([{"name": "refused"}], headers)
    assert (answer.status, answer.code) == (403, "origin")


def test_clients_are_told_apart_by_the_address_that_nginx_saw(nginx: Nginx, server: Server) -> None:
    for name, client in (("from-first", FIRST), ("from-first", FIRST), ("from-second", SECOND)):
        assert nginx.post([{"name": name}], from_page(), client).status == 200
    first = {line["visitor"] for line in stored(server, "from-first")}
    second = {line["visitor"] for line in stored(server, "from-second")}
    assert len(first) == len(second) == 1 and first != second


@pytest.mark.parametrize("hop", ["203.0.113.7", "127.0.0.1", f"{SECOND}, 127.0.0.1", "not an address", ","])
def test_forged_hop_does_not_change_the_visitor(nginx: Nginx, server: Server, hop: str) -> None:
    name = f"forged-{hop.encode().hex()}"
    assert nginx.post([{"name": name}], from_page()).status == 200
    assert nginx.post([{"name": name}], forged("X-Forwarded-For", hop)).status == 200
    honest, lying = stored(server, name)
    assert honest["visitor"] == lying["visitor"]


@pytest.mark.parametrize("given", ["chosen-by-the-client", "x" * 4_000, "\x1b[31mred"])
def test_request_id_is_nginxs_own(nginx: Nginx, given: str) -> None:
    answer = nginx.post([{"name": "refused"}], from_page("https://evil.example") | {"X-Request-Id": given})
    if answer.status != 400:  # nginx itself refuses control characters
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_limit_is_for_each_client_and_no_forged_hop_gets_around_it(tmp_path: Path) -> None:
    program()
    with (
        Server(tmp_path, trusted_proxies="127.0.0.1", rate_limit=3) as server,
        Nginx(tmp_path / "nginx", server.host) as nginx,
    ):
        sent = [nginx.post([{"name": "pageview"}], forged("X-Forwarded-For", f"203.0.113.{n}")) for n in range(5)]
        assert is_limited_to_three(sent)
        assert nginx.post([{"name": "pageview"}], from_page(), SECOND).status == 200


def test_without_trusted_proxies_everybody_is_one_client(tmp_path: Path) -> None:
    """The first symptom in the page's table."""
    program()
    with Server(tmp_path, rate_limit=3) as server, Nginx(tmp_path / "nginx", server.host) as nginx:
        addresses = [FIRST, SECOND, FIRST, SECOND, FIRST]
        sent = [nginx.post([{"name": "pageview"}], from_page(), client) for client in addresses]
        assert is_limited_to_three(sent)
        assert len({line["visitor"] for line in server.lines()}) == 1


def test_host_that_is_not_passed_on_is_the_documented_mistake(tmp_path: Path, server: Server) -> None:
    line = "proxy_set_header Host $host;"
    assert line in SITE
    with Nginx(tmp_path / "nginx", server.host, SITE.replace(line, "")) as nginx:
        assert nginx.post([{"name": "no-host"}], from_page()).code == "origin"
        assert nginx.post([{"name": "no-host"}], keyed()).status == 200
    assert [line["site"] for line in stored(server, "no-host")] == ["foldlog"]


@pytest.mark.parametrize(("variable", "status"), [("$host", 403), ("$http_host", 200)])
def test_port_of_the_origin_needs_http_host(tmp_path: Path, server: Server, variable: str, status: int) -> None:
    site = SITE.replace("Host $host;", f"Host {variable};")
    with Nginx(tmp_path / "nginx", server.host, site) as nginx:
        headers = from_page(f"https://{HOST}:8443", Host=f"{HOST}:8443")
        assert nginx.post([{"name": "pageview"}], headers).status == status


def test_body_over_the_limit_of_nginx_is_refused_by_nginx(nginx: Nginx) -> None:
    answer = nginx.request("POST", "/v1/events", padded(KEY_BODY_MAX_BYTES + 1), keyed())
    assert (answer.status, answer.headers.get_content_type()) == (413, "text/html")


@pytest.mark.parametrize("size", [Settings().max_body_bytes + 1, KEY_BODY_MAX_BYTES])
def test_body_over_the_limit_of_pages_is_refused_by_foldlog(nginx: Nginx, size: int) -> None:
    """It answers before it has read the body. Many times, because an answer lost on the
    way would be a 502 now and then.
    """
    with closing(nginx.session()) as connection:
        for _ in range(20):
            connection.request("POST", "/v1/events", padded(size), {"Host": HOST, **from_page()})
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
            assert (answer.status, answer.code) == (413, "too_large")


@pytest.mark.parametrize(
    ("size", "headers"), [(Settings().max_body_bytes, from_page()), (KEY_BODY_MAX_BYTES, keyed())], ids=["page", "key"]
)
def test_largest_body_goes_through(nginx: Nginx, size: int, headers: dict[str, str]) -> None:
    assert nginx.request("POST", "/v1/events", padded(size), headers).status == 200


def test_compressed_and_chunked_body_goes_through(nginx: Nginx) -> None:
    body = gzip.compress(batch([{"name": "pageview"}]))
    with closing(nginx.session()) as connection:
        headers = {"Host": HOST, "Content-Encoding": "gzip", **from_page()}
        connection.request("POST", "/v1/events", iter([body[:20], body[20:]]), headers, encode_chunked=True)
        assert connection.getresponse().status == 200


def test_many_posts_over_one_connection(nginx: Nginx, server: Server) -> None:
    with closing(nginx.session()) as connection:
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
def test_what_is_for_the_inside_is_not_passed_on(nginx: Nginx, path: str) -> None:
    answer = nginx.request("GET", path)
    assert (answer.status, answer.headers.get_content_type()) == (404, "text/html"), answer


def test_site_itself_is_still_served(nginx: Nginx) -> None:
    assert nginx.request("GET", "/").body == SITE_PAGE


def test_monitoring_host_alone_reaches_the_inside(tmp_path: Path, server: Server) -> None:
    inside = INSIDE.replace("203.0.113.5", SECOND)
    assert inside != INSIDE
    with Nginx(tmp_path / "nginx", server.host, f"{SITE.rstrip().removesuffix('}')}{inside}}}\n") as nginx:
        assert nginx.request("GET", "/healthz", client=SECOND).json() == {"status": "ok"}
        assert nginx.request("GET", "/healthz", client=FIRST).status == 403
        assert nginx.request("GET", "/openapi.json", client=SECOND).headers.get_content_type() == "text/html"


@pytest.mark.parametrize("path", ["/tracker.js", "/tracker.v1.js"])
def test_browser_script_is_passed_on(nginx: Nginx, path: str) -> None:
    answer = nginx.request("GET", path)
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/javascript")


def test_pixel_is_passed_on(nginx: Nginx) -> None:
    answer = nginx.request("GET", "/v1/pixel.gif?k=x")
    assert (answer.status, answer.headers["Foldlog-Problem"], len(answer.body)) == (403, "pixel", 43)


def test_load_of_a_pixel_is_never_passed_on_twice(tmp_path: Path) -> None:
    """Though a GET: a socket stands for a Foldlog that stores it and then dies."""
    sent = f"GET /v1/pixel.gif?k=x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode("ascii")
    with (
        socket.create_server(("127.0.0.1", 0)) as upstream,
        Nginx(tmp_path / "nginx", f"127.0.0.1:{upstream.getsockname()[1]}") as nginx,
        nginx.connect(FIRST) as connection,
    ):
        connection.sendall(sent)
        kept = accept(upstream)
        assert kept.recv(4096).startswith(b"GET /v1/pixel.gif")
        kept.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert read_answer(connection).status == 200
        connection.sendall(sent)
        assert kept.recv(4096).startswith(b"GET ")  # over the connection that was kept, which nginx would try again
        kept.close()
        assert read_answer(connection).status == 502
        assert nobody_connects(upstream)


def test_dashboard_works_with_the_token(nginx: Nginx) -> None:
    assert nginx.request("GET", "/admin").headers["Location"].endswith("/admin/")
    opened = nginx.request("GET", "/admin/")
    assert opened.status == 200 and "frame-ancestors 'none'" in opened.headers["Content-Security-Policy"]
    assert nginx.request("GET", "/admin/js/main.js").status == 200

    refused = nginx.request("GET", "/admin/api/status")
    assert (refused.status, refused.code) == (401, "token") and "Bearer" in refused.headers["WWW-Authenticate"]
    assert nginx.request("GET", "/admin/api/status", headers=bearer(ADMIN_TOKEN)).status == 200

    token = bearer(ADMIN_TOKEN)
    assert nginx.post([{"name": "exported"}], from_page()).status == 200
    assert nginx.request("POST", "/admin/api/fold", b"", token | {"Origin": "https://evil.example"}).code == "origin"
    assert nginx.request("POST", "/admin/api/fold", b"", token | {"Origin": ORIGIN}).status == 200
    exported = nginx.request("GET", "/admin/api/export", headers=token).body.decode("utf-8").splitlines()
    assert "exported" in [json.loads(line)["event"] for line in exported]


def test_request_is_passed_on_whole_and_never_twice(tmp_path: Path) -> None:
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
        with Nginx(tmp_path / "nginx", f"127.0.0.1:{upstream.getsockname()[1]}") as nginx:
            with nginx.connect(FIRST) as connection:
                connection.sendall(sent[:-1])
                assert nobody_connects(upstream)
                connection.sendall(sent[-1:])
                kept = accept(upstream)
                headers, received = read_request(kept)
                assert received == body
                assert headers["Host"] == HOST
                assert headers["X-Forwarded-For"] == f"203.0.113.7, {FIRST}"
                assert headers["X-Forwarded-Host"] is None and headers["Connection"] is None
                kept.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                assert read_answer(connection).status == 200

                connection.sendall(sent)
                assert read_request(kept)[1] == body  # over the connection that was kept
                kept.close()
                assert read_answer(connection).status == 502
                assert nobody_connects(upstream)

            upstream.close()
            assert nginx.post([{"name": "pageview"}], from_page()).status == 502
        assert FIRST not in nginx.error_log.read_text()


def test_address_of_a_visitor_stays_nowhere(tmp_path: Path, server: Server) -> None:
    """P11, with nginx in the way: not in its logs either, whatever becomes of the
    event.
    """
    with Nginx(tmp_path / "nginx", server.host) as nginx:
        assert nginx.post([{"name": "pageview"}], from_page()).status == 200
        assert nginx.request("POST", "/v1/events?dry_run=1", b"", from_page()).status == 400
        assert nginx.post([{"name": "pageview"}], from_page(None)).status == 403
        assert nginx.request("POST", "/v1/events", padded(100_000), from_page()).status == 413
        assert nginx.request("POST", "/v1/events", padded(KEY_BODY_MAX_BYTES + 1), from_page()).status == 413
        too_long = from_page(Cookie="c" * 40_000)
        assert nginx.request("GET", "/v1/events", headers=too_long).status == 400
        # What is not an event is logged; once this line is there, those of the requests
        # before it would be.
        assert nginx.request("GET", "/", headers=too_long).status == 400
        until(lambda: f"{FIRST} - - " in nginx.access_log.read_text(), nginx.access_log.read_text)
        assert nginx.access_log.read_text().count("\n") == 1 and "/v1/events" not in nginx.access_log.read_text()
        assert FIRST not in nginx.error_log.read_text()
    assert not (tmp_path / "nginx" / "default-access.log").read_text()

    server.fold()
    assert FIRST not in server.stderr()
    assert FIRST not in server.get("/admin/api/export").body.decode("utf-8")
    files = [path for path in server.data.root.rglob("*") if path.is_file()]
    assert files and not [path for path in files if FIRST.encode("ascii") in path.read_bytes()]


def test_shortened_log_names_networks_in_combined_format(tmp_path: Path) -> None:
    site = SHORTENED + SITE.replace("access.log combined", "access.log shortened")
    assert site.count("shortened;") + site.count("log shortened ") == 1
    with Nginx(tmp_path / "nginx", "127.0.0.1:1", site) as nginx:
        assert nginx.request("GET", "/", headers={"User-Agent": AGENT}).status == 200
        until(nginx.access_log.read_text, nginx.error_log.read_text)
        assert re.fullmatch(
            rf'127\.0\.0\.0 - - \[[^]]+\] "GET / HTTP/1\.1" 200 15 "-" "{re.escape(AGENT)}"\n',
            nginx.access_log.read_text(),
        )
