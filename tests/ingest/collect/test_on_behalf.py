"""What a server with a key says of the page and the visitor behind it, through a
worker: `site` and `client`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders.wire import keyed, page
from tests.builders.worker import Worker

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
OPERA = "Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.16"
SERVER = "User-Agent: node"
PEOPLE = [
    {"address": "203.0.113.7", "user_agent": FIREFOX, "language": "de-DE,en;q=0.5"},
    {"address": "203.0.113.8", "user_agent": FIREFOX},
    {"address": "2001:db8::7", "user_agent": OPERA, "language": "fr"},
]
SITES = {"sites": "shop.example,blog.example", "exclude_networks": "198.51.100.0/24"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Any site counts."""
    with Worker(tmp_path_factory.mktemp("any")) as running:
        yield running


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """FOLDLOG_SITES says which."""
    with Worker(tmp_path_factory.mktemp("listed"), **SITES) as running:
        yield running


def sent(*events: dict[str, Any], **outer: Any) -> bytes:
    return json.dumps({"events": [{"name": "x"} | each for each in events], **outer}).encode()


def lines(worker: Worker, body: bytes, *headers: str) -> list[dict[str, Any]]:
    """What a keyed request adds to the log; all of it is accepted."""
    before = worker.position()
    answer = worker.exchange(keyed(body, *headers))
    assert (answer.status, answer.json()["rejected"]) == (200, [])
    return worker.appended(before)


@pytest.mark.parametrize("padding", [1, 12])
def test_a_server_names_the_site_of_batch_and_event(worker: Worker, listed: Worker, padding: int) -> None:
    body = sent(*[{"site": "Blog.Example."}, {}] * padding, site="shop.example")
    for each in (worker, listed):
        assert (
            sorted(line["site"] for line in lines(each, body))
            == ["blog.example"] * padding + ["shop.example"] * padding
        )


def test_without_a_site_it_is_that_of_the_request(worker: Worker, listed: Worker) -> None:
    assert [line["site"] for line in lines(listed, sent({}))] == ["shop.example"]
    assert len({line["site"] for line in lines(worker, sent({}, {"site": "a.example"}))}) == 2


def test_visitors_behind_a_server_are_several(worker: Worker) -> None:
    events = [{"client": each, "id": f"event-{n}-{turn}"} for turn in range(5) for n, each in enumerate(PEOPLE)]
    found = lines(worker, sent(*events), SERVER)
    assert {(line["ua"], line.get("language")) for line in found} == {(FIREFOX, "de"), (FIREFOX, None), (OPERA, "fr")}
    by_person = [{line["visitor"] for line in found if line["id"].startswith(f"event-{n}-")} for n in range(3)]
    assert [len(each) for each in by_person] == [1, 1, 1]
    assert len(set.union(*by_person)) == 3
    assert all(line["daily"] and line["sender"] == "key" and "client" not in line for line in found)


def test_a_visitor_is_the_one_that_the_page_itself_would_be(tmp_path: Path) -> None:
    with Worker(tmp_path, trusted_proxies="127.0.0.1", sites="shop.example") as worker:
        (behind,) = lines(worker, sent({"client": PEOPLE[0]}))
        before = worker.position()
        head = ("X-Forwarded-For: 203.0.113.7", f"User-Agent: {FIREFOX}", "Origin: https://shop.example")
        assert worker.exchange(page(sent({}), *head)).status == 200
        (own,) = worker.appended(before)
    assert (own["visitor"], own["site"]) == (behind["visitor"], behind["site"])


def test_an_address_is_one_however_it_is_written(worker: Worker) -> None:
    for spellings in (
        [
            "203.0.113.7",
            "203.0.113.7:51234",
            "::ffff:203.0.113.7",
            "[::ffff:cb00:7107]:443",
            "64:ff9b::203.0.113.7",
            " 203.0.113.7 ",
        ],
        ["2001:db8::7", "2001:DB8:0::7", "[2001:db8::7]:443", "2001:db8::7%eth0"],
    ):
        found = lines(worker, sent(*[{"client": {"address": each}} for each in spellings]))
        assert len({line["visitor"] for line in found}) == 1


def test_a_site_is_one_however_it_is_written(listed: Worker) -> None:
    spellings = [
        "blog.example",
        "BLOG.Example",
        "blog.example.",
        "blog.example:443",
        "blog.example.:8443",
        "www.blog.example",
    ]
    assert {line["site"] for line in lines(listed, sent(*[{"site": each} for each in spellings]))} == {"blog.example"}


def test_a_client_without_an_agent_has_none(worker: Worker) -> None:
    events = [{"client": {"address": "203.0.113.7", "user_agent": agent, "language": ""}} for agent in (None, "")]
    assert all("ua" not in line and "language" not in line for line in lines(worker, sent(*events), SERVER))


def test_the_address_is_nowhere(worker: Worker) -> None:
    lines(worker, sent(*[{"client": each} for each in PEOPLE]))
    for path in worker.data.root.rglob("*"):
        if path.is_file():
            assert b"203.0.113" not in path.read_bytes()
    assert "203.0.113" not in json.dumps(worker.log.entries, default=str)


REJECTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a site that is not listed": ({"site": "evil.example"}, "site_unknown", "site"),
    "no host name": ({"site": "a b"}, "site_invalid", "site"),
    "a URL": ({"site": "https://shop.example/"}, "site_invalid", "site"),
    "empty": ({"site": ""}, "site_too_short", "site"),
    "a number": ({"site": 5}, "site_type", "site"),
    "no address": ({"client": {"user_agent": FIREFOX}}, "client_type", "client"),
    "a name": ({"client": {"address": "localhost"}}, "client_invalid", "client"),
    "another key": ({"client": {"address": "203.0.113.7", "ip": "x"}}, "unknown_field", "ip"),
    "own traffic": ({"client": {"address": "198.51.100.9"}}, "excluded_network", "client"),
}


@pytest.mark.parametrize(("fields", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_what_does_not_fit_costs_only_its_event(listed: Worker, fields: dict[str, Any], code: str, field: str) -> None:
    before = listed.position()
    answer = listed.exchange(keyed(sent({}, fields, {"site": "blog.example"})))
    (rejected,) = answer.json()["rejected"]
    assert (rejected["index"], rejected["code"], rejected.get("field")) == (1, code, field)
    assert [line["site"] for line in listed.appended(before)] == ["shop.example", "blog.example"]


@pytest.mark.parametrize("fields", [{"site": "shop.example"}, {"client": PEOPLE[0]}])
def test_a_page_says_neither(worker: Worker, fields: dict[str, Any]) -> None:
    answer = worker.exchange(page(sent(fields, {})))
    assert (answer.status, [each["code"] for each in answer.json()["rejected"]]) == (200, ["key_needed"])
    assert answer.json()["accepted"] == 1


def test_a_page_does_not_name_the_site_of_a_batch(worker: Worker) -> None:
    answer = worker.exchange(page(sent({}, site="shop.example")))
    assert (answer.status, answer.json()["rejected"][0]["code"]) == (422, "key_needed")
