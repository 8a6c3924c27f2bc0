"""Admission decides by the head of a request alone: each row is a head and its
outcome.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from ingest.collect import admission
from ingest.collect.admission import BodyFormat, Sender
from ingest.http.problem import Problem
from shared.settings import Settings
from shared.tokens import Scope

HOST = "stats.example.com"
SITES = ("shop.example", "www.shop.example")
SETTINGS = Settings(sites=(*SITES, HOST))
NO_SITES = Settings()
JSON = {"Content-Type": "application/json"}
CONSENT = {"Foldlog-Consent": "granted"}
SAME_ORIGIN = {"Host": HOST, "Sec-Fetch-Site": "same-origin"}
INGEST: frozenset[Scope] = frozenset(["ingest"])


def admit(
    headers: Mapping[str, str], scopes: frozenset[Scope] | None = None, settings: Settings = SETTINGS
) -> tuple[BodyFormat, Sender] | tuple[int, str]:
    """Body format and sender, or status and code of the problem."""
    try:
        return admission.admit(CIMultiDict(headers), headers.get("Host", "").lower(), scopes, settings)
    except Problem as problem:
        return problem.status, problem.code


def sender(headers: Mapping[str, str], scopes: frozenset[Scope] | None = None, settings: Settings = SETTINGS) -> Sender:
    found = admit(headers, scopes, settings)
    assert isinstance(found[1], Sender), found
    return found[1]


REFUSED = (403, "origin")
Row = tuple[dict[str, str], str | None]

# A browser's headers about the origin of a request, and the site that it counts for.
# None: rejected.
ORIGINS: dict[str, Row] = {
    "nothing at all": ({}, None),
    "same-origin, as a modern browser says it": ({"Sec-Fetch-Site": "same-origin"}, HOST),
    "same-origin with its Origin": ({"Sec-Fetch-Site": "same-origin", "Origin": f"https://{HOST}"}, HOST),
    "same-origin by Referer": ({"Sec-Fetch-Site": "same-origin", "Referer": f"https://{HOST}/a"}, HOST),
    "same-origin that contradicts its Origin": (
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        None,
    ),
    "same-origin of a known site, behind a proxy that rewrites Host": (
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://shop.example"},
        "shop.example",
    ),
    "cross-site from a known site": (
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"},
        "shop.example",
    ),
    "same-site from a known site": (
        {"Sec-Fetch-Site": "same-site", "Origin": "https://www.shop.example"},
        "www.shop.example",
    ),
    "cross-site from a known site, by Referer": (
        {"Sec-Fetch-Site": "cross-site", "Referer": "https://shop.example/basket?x=1"},
        "shop.example",
    ),
    "cross-site from another site": ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, None),
    "same-site from another site": ({"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.com"}, None),
    "cross-site that claims our host": ({"Sec-Fetch-Site": "cross-site", "Origin": f"https://{HOST}"}, HOST),
    "cross-site from a sandbox": ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, None),
    "same-origin, whose page hides its origin": ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, HOST),
    "same-site, whose page hides its origin": ({"Sec-Fetch-Site": "same-site", "Origin": "null"}, None),
    "cross-site with nothing else": ({"Sec-Fetch-Site": "cross-site"}, None),
    "typed into the address bar": ({"Sec-Fetch-Site": "none", "Origin": "https://shop.example"}, None),
    "a value that no browser sends": ({"Sec-Fetch-Site": "trust-me"}, None),
    "Origin is our host": ({"Origin": f"https://{HOST}"}, HOST),
    "Origin is our host in upper case": ({"Origin": f"HTTPS://{HOST.upper()}"}, HOST),
    "Origin is a known site": ({"Origin": "https://shop.example"}, "shop.example"),
    "Origin is a known site on another port": ({"Origin": "https://shop.example:8443"}, "shop.example"),
    "Origin is a host that ends like a known one": ({"Origin": "https://evilshop.example"}, None),
    "Origin is a subdomain of a known site": ({"Origin": "https://evil.shop.example"}, None),
    "Origin is a host that begins like a known one": ({"Origin": "https://shop.example.evil.example"}, None),
    "Origin is another site": ({"Origin": "https://evil.example"}, None),
    "Origin null": ({"Origin": "null"}, None),
    "Origin empty": ({"Origin": ""}, None),
    "Origin without a scheme": ({"Origin": "shop.example"}, None),
    "Origin of a file": ({"Origin": "file://shop.example"}, None),
    "Origin of an extension": ({"Origin": "chrome-extension://shop.example"}, None),
    "Origin with a known site as user": ({"Origin": "https://shop.example@evil.example"}, None),
    "Origin with a known site as user and password": ({"Origin": "https://shop.example:443@evil.example"}, None),
    "Origin with a known site after a fragment": ({"Origin": "https://evil.example#@shop.example"}, None),
    "Origin with a known site after a query": ({"Origin": "https://evil.example?@shop.example"}, None),
    "Origin with a broken IPv6 host": ({"Origin": "https://[shop.example"}, None),
    "Referer is our host": ({"Referer": f"https://{HOST}/page?x=1"}, HOST),
    "Referer is a known site": ({"Referer": "https://shop.example/page"}, "shop.example"),
    "Referer is another site": ({"Referer": "https://evil.example/shop.example"}, None),
    "Referer has a known site as user": ({"Referer": "https://shop.example@evil.example/"}, None),
    "Origin counts before Referer": ({"Origin": "https://evil.example", "Referer": "https://shop.example/"}, None),
    "Origin null counts before Referer": ({"Origin": "null", "Referer": "https://shop.example/"}, None),
}


@pytest.mark.parametrize(("headers", "site"), ORIGINS.values(), ids=ORIGINS)
def test_page_is_admitted_only_from_its_own_or_a_known_site(headers: dict[str, str], site: str | None) -> None:
    found = admit({"Host": HOST} | JSON | CONSENT | headers)
    assert found == REFUSED if site is None else isinstance(found[1], Sender) and found[1].site == site


@pytest.mark.parametrize(("headers", "site"), ORIGINS.values(), ids=ORIGINS)
def test_port_of_the_host_is_compared(headers: dict[str, str], site: str | None) -> None:
    """The same rows for a server on port 8080, which is then part of our own Origin."""
    headers = {
        name: value.replace(HOST, f"{HOST}:8080").replace(HOST.upper(), f"{HOST.upper()}:8080")
        for name, value in headers.items()
    }
    found = admit({"Host": f"{HOST}:8080"} | JSON | CONSENT | headers)
    assert found == REFUSED if site is None else isinstance(found[1], Sender) and found[1].site == site


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site", "Origin": f"https://{HOST}"}, {"Origin": f"https://{HOST}:8443"}]
)
def test_our_host_elsewhere_counts_only_where_it_is_listed(headers: dict[str, str]) -> None:
    assert admit({"Host": HOST} | JSON | CONSENT | headers, settings=NO_SITES) == REFUSED
    assert admit({"Host": HOST} | JSON | CONSENT | headers, settings=Settings(sites=SITES)) == REFUSED


# The host of a request and its headers about the origin: what any program can send.
OTHER_HOSTS: dict[str, tuple[str, dict[str, str]]] = {
    "same-origin": ("evil.example", {"Sec-Fetch-Site": "same-origin"}),
    "its own Origin": ("evil.example", {"Origin": "https://evil.example"}),
    "its own Referer": ("evil.example", {"Referer": "https://evil.example/a"}),
    "with a port": ("evil.example:8080", {"Origin": "http://evil.example:8080"}),
    "a part of a site": ("example", {"Origin": "https://example"}),
    "below a site": ("a.shop.example", {"Origin": "https://a.shop.example"}),
    "a site as its end": ("evilshop.example", {"Origin": "https://evilshop.example"}),
    "an address": ("127.0.0.1:8080", {"Origin": "http://127.0.0.1:8080"}),
    "an IPv6 address": ("[::1]:8080", {"Origin": "http://[::1]:8080"}),
}


@pytest.mark.parametrize(("host", "headers"), OTHER_HOSTS.values(), ids=OTHER_HOSTS)
def test_host_that_is_not_listed_makes_no_site_where_sites_are_listed(host: str, headers: dict[str, str]) -> None:
    assert admit({"Host": host} | JSON | CONSENT | headers) == REFUSED
    assert sender({"Host": host} | JSON | CONSENT | headers, INGEST).site == "shop.example"
    assert isinstance(admit({"Host": host} | JSON | CONSENT | headers, settings=NO_SITES)[1], Sender)


@pytest.mark.parametrize("host", ["shop.example", "SHOP.example", "shop.example.", "shop.example:443"])
def test_own_host_that_is_listed_is_the_site(host: str) -> None:
    found = sender({"Host": host} | JSON | CONSENT | {"Sec-Fetch-Site": "same-origin"})
    assert (found.site, found.cross_origin) == ("shop.example", False)


@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site"])
def test_cross_site_request_without_an_origin_is_rejected_even_on_a_known_host(fetch_site: str) -> None:
    assert admit({"Host": "shop.example", "Sec-Fetch-Site": fetch_site} | JSON | CONSENT) == REFUSED


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "null"}, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}]
)
def test_key_needs_no_origin(headers: dict[str, str]) -> None:
    assert sender({"Host": HOST} | JSON | CONSENT | headers, INGEST) == Sender(
        "shop.example", True, False, 1 << 20, "granted"
    )


WWW = {
    "www. of a listed host": (("shop.example",), "www.shop.example", "shop.example"),
    "listed with www.": (("www.shop.example",), "shop.example", "www.shop.example"),
    "both are listed": (("shop.example", "www.shop.example"), "www.shop.example", "www.shop.example"),
    "another subdomain": (("shop.example",), "www2.shop.example", None),
    "www. twice": (("shop.example",), "www.www.shop.example", None),
}


@pytest.mark.parametrize(("sites", "host", "site"), WWW.values(), ids=WWW)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_www_is_no_difference(sites: tuple[str, ...], host: str, site: str | None, *, elsewhere: bool) -> None:
    """Of the page's host and of a listed one, on that host and on another."""
    asked, fetch_site = ("stats.example", "cross-site") if elsewhere else (host, "same-origin")
    headers = {"Host": asked, "Sec-Fetch-Site": fetch_site, "Origin": f"https://{host}"}
    found = admit(headers | JSON | CONSENT, settings=Settings(sites=sites))
    assert found == REFUSED if site is None else isinstance(found[1], Sender) and found[1].site == site
    allowed = admission.cors(CIMultiDict({"Origin": f"https://{host}"}), Settings(sites=sites))
    assert ("Access-Control-Allow-Origin" in allowed) == (site is not None)


SITES_OF_KEYS = {
    "the first of FOLDLOG_SITES": (SETTINGS, HOST, "shop.example"),
    "else the host": (NO_SITES, HOST, HOST),
    "without its port": (NO_SITES, f"{HOST}:8080", HOST),
    "in lower case": (NO_SITES, "STATS.Example.COM:80", HOST),
    "an IPv6 host": (NO_SITES, "[::1]:8080", "[::1]"),
    "an IPv6 host without a port": (NO_SITES, "[::1]", "[::1]"),
}


@pytest.mark.parametrize(("settings", "host", "site"), SITES_OF_KEYS.values(), ids=SITES_OF_KEYS)
def test_site_of_a_server_with_a_key(settings: Settings, host: str, site: str) -> None:
    assert sender({"Host": host} | JSON, INGEST, settings).site == site


KEYS: dict[str, tuple[frozenset[Scope], tuple[int, str] | None]] = {
    "not valid": (frozenset(), (401, "key")),
    "ingest": (frozenset(["ingest"]), None),
    "admin": (frozenset(["admin"]), None),
    "read": (frozenset(["read"]), (403, "scope")),
    "read and ingest": (frozenset(["read", "ingest"]), None),
}


@pytest.mark.parametrize(("scopes", "problem"), KEYS.values(), ids=KEYS)
def test_key_must_be_valid_and_may_write(scopes: frozenset[Scope], problem: tuple[int, str] | None) -> None:
    found = admit(SAME_ORIGIN | JSON | CONSENT, scopes)
    if problem:
        assert found == problem
    else:
        assert isinstance(found[1], Sender)


MEDIA_REFUSED = (415, "media_type")
ENCODING_REFUSED = (415, "content_encoding")
FORMS: dict[str, tuple[dict[str, str], BodyFormat | tuple[int, str]]] = {
    "JSON": ({"Content-Type": "application/json"}, BodyFormat("application/json", None)),
    "NDJSON": ({"Content-Type": "application/x-ndjson"}, BodyFormat("application/x-ndjson", None)),
    "text, as sendBeacon sends it": ({"Content-Type": "text/plain;charset=UTF-8"}, BodyFormat("text/plain", None)),
    "upper case": ({"Content-Type": "Application/JSON; Charset=UTF-8"}, BodyFormat("application/json", None)),
    "charset in quotes": ({"Content-Type": 'application/json; charset="utf-8"'}, BodyFormat("application/json", None)),
    "charset as many write it": (
        {"Content-Type": "application/json; charset=utf8"},
        BodyFormat("application/json", None),
    ),
    "ASCII": ({"Content-Type": "text/plain; charset=us-ascii"}, BodyFormat("text/plain", None)),
    "charset with an underscore": ({"Content-Type": "text/plain; charset=UTF_8"}, BodyFormat("text/plain", None)),
    "charset of Windows": ({"Content-Type": "application/json; charset=cp65001"}, BodyFormat("application/json", None)),
    "charset empty": ({"Content-Type": "application/json; charset="}, BodyFormat("application/json", None)),
    "charset as the end of a name": (
        {"Content-Type": "text/plain; x-charset=latin1"},
        BodyFormat("text/plain", None),
    ),
    "charset twice": ({"Content-Type": "text/plain; charset=utf-8; charset=utf-16"}, MEDIA_REFUSED),
    "another parameter": ({"Content-Type": "application/json; profile=x"}, BodyFormat("application/json", None)),
    "blanks": ({"Content-Type": "  application/json  ;"}, BodyFormat("application/json", None)),
    "UTF-16": ({"Content-Type": "application/json; charset=utf-16"}, MEDIA_REFUSED),
    "Latin-1": ({"Content-Type": "text/plain; charset=iso-8859-1"}, MEDIA_REFUSED),
    "missing": ({}, MEDIA_REFUSED),
    "empty": ({"Content-Type": ""}, MEDIA_REFUSED),
    "HTML": ({"Content-Type": "text/html"}, MEDIA_REFUSED),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, MEDIA_REFUSED),
    "multipart": ({"Content-Type": "multipart/form-data; boundary=x"}, MEDIA_REFUSED),
    "octets": ({"Content-Type": "application/octet-stream"}, MEDIA_REFUSED),
    "a type that begins so": ({"Content-Type": "application/json5"}, MEDIA_REFUSED),
    "two types": ({"Content-Type": "application/json, text/plain"}, MEDIA_REFUSED),
    "gzip": (JSON | {"Content-Encoding": "gzip"}, BodyFormat("application/json", "gzip")),
    "gzip in upper case": (JSON | {"Content-Encoding": " GZIP "}, BodyFormat("application/json", "gzip")),
    "zstd": (JSON | {"Content-Encoding": "zstd"}, BodyFormat("application/json", "zstd")),
    "encoding empty": (JSON | {"Content-Encoding": ""}, BodyFormat("application/json", None)),
    "encoding identity": (JSON | {"Content-Encoding": "identity"}, BodyFormat("application/json", None)),
    "gzip by its old name": (JSON | {"Content-Encoding": "X-GZip"}, BodyFormat("application/json", "gzip")),
    "deflate": (JSON | {"Content-Encoding": "deflate"}, ENCODING_REFUSED),
    "br": (JSON | {"Content-Encoding": "br"}, ENCODING_REFUSED),
    "foo": (JSON | {"Content-Encoding": "foo"}, ENCODING_REFUSED),
    "gzip twice": (JSON | {"Content-Encoding": "gzip, gzip"}, ENCODING_REFUSED),
}


@pytest.mark.parametrize(("headers", "expected"), FORMS.values(), ids=FORMS)
def test_media_type_and_encoding_of_the_body(headers: dict[str, str], expected: BodyFormat | tuple[int, str]) -> None:
    found = admit(SAME_ORIGIN | CONSENT | headers)
    assert expected in (found, found[0])


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch;prerender"},
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "Prefetch; Prerender"},
        {"Purpose": "prefetch"},
        {"X-Moz": "prefetch"},
        {"X-Purpose": "preview"},
    ],
)
def test_page_that_is_loaded_in_advance_is_not_counted(headers: dict[str, str]) -> None:
    assert admit(SAME_ORIGIN | CONSENT | JSON | headers) == (403, "prerender")


def test_page_that_is_loaded_in_advance_may_say_so_in_a_second_line() -> None:
    headers = CIMultiDict(SAME_ORIGIN | CONSENT | JSON | {"Sec-Purpose": "x"})
    headers.add("Sec-Purpose", "prefetch")
    with pytest.raises(Problem, match="in advance"):
        admission.admit(headers, HOST, None, Settings())


# The host that a proxy passed on, and the origin that the browser calls the same.
LOST_PORTS = {
    "a port that the proxy left out": ("stats.example.com", "https://stats.example.com:8443"),
    "the port of the proxy": ("stats.example.com:8080", "https://stats.example.com"),
    "the port before TLS ended": ("stats.example.com:80", "https://stats.example.com"),
    "a colon alone": ("stats.example.com:", "https://stats.example.com"),
    "an IPv6 address": ("[2001:DB8::7]:8080", "https://[2001:db8::7]"),
}


@pytest.mark.parametrize(("host", "origin"), LOST_PORTS.values(), ids=LOST_PORTS)
def test_port_that_a_proxy_changed_is_no_other_origin(host: str, origin: str) -> None:
    for said, site in (("same-origin", admission.site_of(host)), ("cross-site", None)):
        headers = JSON | CONSENT | {"Host": host, "Sec-Fetch-Site": said, "Origin": origin}
        found = admit(headers, settings=NO_SITES)
        assert found == REFUSED if site is None else isinstance(found[1], Sender) and found[1].site == site


KIB = 1 << 10
SMALL = Settings(max_body_bytes=2 * KIB)
LARGE = Settings(max_body_bytes=2 << 20)
LENGTHS = {
    "none": (None, None, NO_SITES, True),
    "page, at the limit": (64 * KIB, None, NO_SITES, True),
    "page, 1 more": (64 * KIB + 1, None, NO_SITES, False),
    "page, at its own limit": (2 * KIB, None, SMALL, True),
    "page, 1 more than its own": (2 * KIB + 1, None, SMALL, False),
    "key, at the limit": (1 << 20, INGEST, NO_SITES, True),
    "key, 1 more": ((1 << 20) + 1, INGEST, NO_SITES, False),
    "key, not held to the limit of pages": (3 * KIB, INGEST, SMALL, True),
    "huge": (99_999_999_999, INGEST, NO_SITES, False),
}


@pytest.mark.parametrize(("length", "scopes", "settings", "fits"), LENGTHS.values(), ids=LENGTHS)
def test_content_length_is_limited(
    length: int | None, scopes: frozenset[Scope] | None, settings: Settings, fits: bool
) -> None:
    headers = SAME_ORIGIN | JSON | CONSENT | ({} if length is None else {"Content-Length": str(length)})
    found = admit(headers, scopes, settings)
    assert isinstance(found[1], Sender) if fits else found == (413, "too_large")


@pytest.mark.parametrize("scopes", [None, INGEST], ids=["page", "key"])
def test_limit_above_a_megabyte_applies_with_and_without_a_key(scopes: frozenset[Scope] | None) -> None:
    headers = SAME_ORIGIN | JSON | CONSENT | {"Content-Length": str(2 << 20)}
    assert sender(headers, scopes, LARGE).body_max_bytes == 2 << 20


ORDER: dict[str, tuple[dict[str, str], frozenset[Scope] | None, tuple[int, str]]] = {
    "size before media type": ({"Content-Length": "99999999"}, None, (413, "too_large")),
    "media type before key": ({}, frozenset(), (415, "media_type")),
    "media type before origin": ({}, None, (415, "media_type")),
    "origin before consent": (JSON | {"DNT": "1"}, None, REFUSED),
    "key before consent": (JSON | {"DNT": "1"}, frozenset(), (401, "key")),
}


@pytest.mark.parametrize(("headers", "scopes", "expected"), ORDER.values(), ids=ORDER)
def test_cheapest_failing_check_decides(
    headers: dict[str, str], scopes: frozenset[Scope] | None, expected: tuple[int, str]
) -> None:
    assert admit({"Host": HOST} | headers, scopes) == expected


LANGUAGES = {
    "a language": ("de", "de"),
    "with its country": ("de-DE", "de"),
    "the first of several": ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
    "of three letters": ("gsw-CH", "gsw"),
    "upper case": ("DE-at", "de"),
    "with blanks": ("  fr ; q=1", "fr"),
    "a locale": ("de_DE.UTF-8", "de"),
    "any": ("*", None),
    "empty": ("", None),
    "none": (None, None),
    "too long": ("english", None),
    "too short": ("e", None),
    "not letters": ("12-34", None),
    "not ASCII": ("äö", None),
    "control characters": ("d\x1b", None),
    "very long": ("x" * 10_000, None),
}


@pytest.mark.parametrize(("accept", "expected"), LANGUAGES.values(), ids=LANGUAGES)
def test_language_is_the_first_one(accept: str | None, expected: str | None) -> None:
    assert admission.language(accept) == expected


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
AGENTS = {
    "a page's own": (FIREFOX, False, FIREFOX),
    "a page's, whatever it is": ("curl/8.0", False, "curl/8.0"),
    "passed on by a server": (FIREFOX, True, FIREFOX),
    "Opera, passed on by a server": ("Opera/9.80 (J2ME/MIDP)", True, "Opera/9.80 (J2ME/MIDP)"),
    "an app, passed on by a server": (
        "Dalvik/2.1.0 (Linux; U; Android 14)",
        True,
        "Dalvik/2.1.0 (Linux; U; Android 14)",
    ),
    "empty": ("", False, None),
    "a server's own": ("python-requests/2.32", True, None),
    "none": (None, False, None),
    "none with a key": (None, True, None),
    "too long": ("Mozilla/" + "x" * 1000, False, ("Mozilla/" + "x" * 1000)[:500]),
    "letters of two bytes": ("ä" * 1000, False, "ä" * 250),
    "letters of four bytes": ("a" + "😀" * 1000, False, "a" + "😀" * 124),
    "quotes, which are written as two bytes": ('"' * 100 + "x" * 900, False, '"' * 100 + "x" * 300),
    "backslashes only": ("\\" * 1000, False, ""),
    "C1, which would be written as six bytes": ("Moz\x80\x9f", False, "Moz??"),
    "DEL and C0": ("Moz\x7f\x1b[31m", False, "Moz??[31m"),
    "turned direction": ("Moz\u202eilla", False, "Moz?illa"),
    "bytes that are not UTF-8": ("Moz\udcff\udc80", False, "Moz??"),
    "a printable name": ("App/1 (Müller)", False, "App/1 (Müller)"),
}


@pytest.mark.parametrize(("ua", "keyed", "expected"), AGENTS.values(), ids=AGENTS)
def test_user_agent_is_that_of_a_visitor_and_never_of_a_server(
    ua: str | None, keyed: bool, expected: str | None
) -> None:
    assert admission.visitor_user_agent(ua, keyed=keyed) == expected


DISKS = {
    "enough": (1000, 1000, True),
    "more than enough": (1001, 1000, True),
    "too little": (999, 1000, False),
    "none": (0, 1000, False),
    "not known": (None, 1000, True),
    "switched off": (0, 0, True),
}


@pytest.mark.parametrize(("free", "reserve", "enough"), DISKS.values(), ids=DISKS)
def test_events_are_rejected_before_the_disk_is_full(free: int | None, reserve: int, enough: bool) -> None:
    if enough:
        admission.check_disk(free, reserve)
        return
    with pytest.raises(Problem) as caught:
        admission.check_disk(free, reserve)
    assert (caught.value.status, caught.value.code) == (507, "disk_reserve")
    assert caught.value.retry_after_s


def test_sender_does_not_depend_on_earlier_requests() -> None:
    """The cache of a check must have every input of it in its key."""
    headers = SAME_ORIGIN | JSON | CONSENT | {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}
    assert sender(headers).site == "shop.example"
    assert admit(headers, settings=replace(SETTINGS, sites=("other.example",))) == REFUSED
    assert admit(headers, settings=NO_SITES) == REFUSED
    assert sender(headers).site == "shop.example"


def test_long_headers_are_not_remembered() -> None:
    """Else thousands of requests would leave their heads in memory, 8 KB each."""
    tracemalloc.start()
    for number in range(1_000):
        long = f"{number}{'a' * 8_000}"
        headers = SAME_ORIGIN | CONSENT | {"Content-Type": f"application/json; x={long}", "Content-Length": "0" * 8_000}
        headers |= {"Referer": f"https://{HOST}/{long}"}
        assert not isinstance(admit(headers)[0], int)
        assert admission.language(f"de,{long}") == "de"
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4 << 20  # urlsplit remembers the last 128 by itself
