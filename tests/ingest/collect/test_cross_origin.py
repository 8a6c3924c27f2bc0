"""Pages of other hosts: the preflight, and whether the response is readable (CORS).

Rows are named by their rule in docs/bad-input.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.builders.server import Answer
from tests.builders.wire import (
    CONSENT,
    HOST,
    JSON,
    VALID,
    batch,
    event,
    keyed,
    page,
    wire,
)
from tests.builders.worker import Worker

SITE = "shop.example"
ORIGIN = f"Origin: https://{SITE}"
# A script must tell the refusal from a lost connection.
REFUSAL = {"Access-Control-Allow-Origin": "*"}
CROSS_SITE = "Sec-Fetch-Site: cross-site"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("cross"), sites=f"{SITE} {HOST}") as running:
        yield running


def allowed(answer: Answer) -> dict[str, str]:
    """The headers that let a page of another host read the response."""
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


READABLE = {
    "Access-Control-Allow-Origin": f"https://{SITE}",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "Retry-After",
}


def test_preflight_of_a_configured_site_is_allowed(worker: Worker) -> None:
    answer = worker.exchange(wire(ORIGIN, "Access-Control-Request-Method: POST", method="OPTIONS", length=""))
    assert (answer.status, answer.body) == (204, b"")
    found = allowed(answer)
    assert {name: found.pop(name) for name in READABLE} == READABLE
    assert found.pop("Access-Control-Allow-Methods") == "POST"
    assert {name.strip() for name in found.pop("Access-Control-Allow-Headers").split(",")} >= {
        "Content-Type",
        "Content-Encoding",
        "Foldlog-Consent",
    }
    assert int(found.pop("Access-Control-Max-Age")) > 0
    assert found == {}
    assert answer.headers["Vary"] == "Origin"


UNKNOWN_ORIGINS = {
    "cross-origin: another site": "Origin: https://evil.example",
    "cross-origin: a host that ends like a site": f"Origin: https://evil{SITE}",
    "cross-origin: a subdomain of a site": f"Origin: https://evil.{SITE}",
    "cross-origin: a site as user name": f"Origin: https://{SITE}@evil.example",
    "cross-origin: a sandbox": "Origin: null",
    "cross-origin: an extension": f"Origin: chrome-extension://{SITE}",
    "cross-origin: no origin": "Accept: */*",
    "cross-origin: two origins in one": f"Origin: https://evil.example, https://{SITE}",
}


@pytest.mark.parametrize("header", UNKNOWN_ORIGINS.values(), ids=UNKNOWN_ORIGINS)
def test_preflight_of_an_unknown_origin_is_rejected_without_cors_headers(worker: Worker, header: str) -> None:
    answer = worker.exchange(wire(header, "Access-Control-Request-Method: POST", method="OPTIONS", length=""))
    assert (answer.status, answer.code) == (403, "origin")
    assert allowed(answer) == {}


# A POST, the status, and the headers that let a page of another host read the response.
NOTHING: dict[str, str] = {}
POSTS: dict[str, tuple[bytes, int, dict[str, str]]] = {
    "cross-origin: stored": (wire(ORIGIN, CROSS_SITE, CONSENT, JSON, body=VALID), 200, READABLE),
    "cross-origin: stored, from an older browser": (wire(ORIGIN, CONSENT, JSON, body=VALID), 200, READABLE),
    "cross-origin: partly stored": (wire(ORIGIN, CONSENT, JSON, body=batch(event(), event(name=""))), 200, READABLE),
    "cross-origin: rejected": (wire(ORIGIN, CONSENT, JSON, body=batch(event(name=""))), 422, READABLE),
    "cross-origin: no consent": (wire(ORIGIN, CROSS_SITE, JSON, body=VALID), 403, READABLE),
    "cross-origin: media type": (
        wire(ORIGIN, CROSS_SITE, CONSENT, "Content-Type: text/html", body=VALID),
        415,
        READABLE,
    ),
    "cross-origin: not JSON": (wire(ORIGIN, CROSS_SITE, CONSENT, JSON, body=b"{"), 400, READABLE),
    "cross-origin: too large": (wire(ORIGIN, CROSS_SITE, CONSENT, JSON, length="70000"), 413, READABLE),
    "cross-origin: bad key": (wire(ORIGIN, "Authorization: Bearer x", CONSENT, JSON, body=VALID), 401, READABLE),
    "cross-origin: same origin": (page(VALID, f"Origin: https://{HOST}"), 200, NOTHING),
    "cross-origin: same origin, rejected": (page(batch(event(name="")), f"Origin: https://{HOST}"), 422, NOTHING),
    "cross-origin: same origin, malformed": (page(b"{", f"Origin: https://{HOST}"), 400, NOTHING),
    "cross-origin: no origin": (page(), 200, NOTHING),
    "cross-origin: unknown origin": (wire("Origin: https://evil.example", CONSENT, JSON, body=VALID), 403, REFUSAL),
    "cross-origin: unknown origin, media type": (
        wire("Origin: https://evil.example", CONSENT, body=VALID),
        415,
        NOTHING,
    ),
    "cross-origin: sandbox": (wire("Origin: null", CROSS_SITE, CONSENT, JSON, body=VALID), 403, REFUSAL),
    "cross-origin: key, from a server": (keyed(), 200, NOTHING),
}


@pytest.mark.parametrize(("sent", "status", "readable"), POSTS.values(), ids=POSTS)
def test_response_is_readable_for_pages_of_configured_sites_and_their_refusal_for_all(
    worker: Worker, sent: bytes, status: int, readable: dict[str, str]
) -> None:
    answer = worker.exchange(sent)
    assert answer.status == status
    assert allowed(answer) == readable
    assert readable != READABLE or answer.headers["Vary"] == "Origin"
