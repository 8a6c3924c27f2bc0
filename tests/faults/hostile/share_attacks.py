"""Share links: wrong passwords at once, each of which would cost a hash of 16 MiB, and
a hundred open pages of one link.
"""

from __future__ import annotations

import http.client
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from tests.bench.processes import ADMIN_TOKEN
from tests.faults.hostile.cost import Attack, Bounds, Cost, Scene
from tests.faults.hostile.flood import beside
from tests.faults.hostile.fold_attacks import today
from tests.faults.hostile.ground import ATTACKER, Ground
from tests.faults.hostile.trial import trial

SITE = "127.0.0.1"
PASSWORD = "correct horse battery"  # noqa: S105
GUESSES, GUESSES_QUICK, AT_ONCE = 400, 100, 50
PAGES, PAGES_QUICK = 100, 30
# What a page asks at once, and again each minute.
ASKED = [
    f"/admin/api/report?from={today()}&to={today()}{more}"
    for more in ("", "&interval=hour", "&by=path", "&by=source", "&by=country", "&by=device", "&by=event")
]
ANSWER_S = 120.0
# Two workers with a hash each, and what their requests take.
MEMORY_MIB = 100
RIGHT = 10


def passwords(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """From one address; the holders have others."""
    link = _made(place, password=PASSWORD)
    cpu = place.cpu_seconds()
    opened = Counter(_opened(place, link, PASSWORD, f"127.0.1.{number + 1}")[0] for number in range(RIGHT))
    control.requests, control.answers = RIGHT, _shown(opened)
    control.product_cpu_s = place.cpu_seconds() - cpu
    control.check(opened == {200: RIGHT}, f"holders were answered with {dict(opened)}")
    count = GUESSES_QUICK if scene.quick else GUESSES
    with beside(place, cost, scene.quick), ThreadPoolExecutor(AT_ONCE) as pool:
        found = Counter(pool.map(lambda n: _opened(place, link, f"wrong horse {n}", ATTACKER)[0], range(count)))
    cost.requests, cost.answers = count, _shown(found)
    cost.check(set(found) <= {403, 429, 503}, f"guesses were answered with {dict(found)}")
    cost.check((cost.memory_mib or 0) < MEMORY_MIB, f"{cost.memory_mib} MiB, more than {MEMORY_MIB}")
    cost.check(found[403] < count, "no guess was refused unseen")


def pages(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """Each asks what one does."""
    link = _made(place)
    cookies = [_opened(place, link, "", ATTACKER)[1]]
    cpu = place.cpu_seconds()
    control.requests = len(ASKED)
    control.answers = _shown(_asked(place, link, cookies[0]))
    control.product_cpu_s, control.said = place.cpu_seconds() - cpu, "one page"
    count = PAGES_QUICK if scene.quick else PAGES
    with beside(place, cost, scene.quick), ThreadPoolExecutor(AT_ONCE) as pool:
        found = sum(pool.map(lambda _: _asked(place, link, cookies[0]), range(count)), Counter[int]())
    cost.requests, cost.answers = sum(found.values()), _shown(found)
    cost.check(found[200] + found[429] == cost.requests, f"pages were answered with {dict(found)}")


def _made(place: Ground, **more: Any) -> dict[str, Any]:
    body = {"site": SITE, "name": "shared", **more}
    status, _, content = _post(place, "shares", body, ATTACKER, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert status == 201, content
    return dict(json.loads(content))


def _opened(place: Ground, link: dict[str, Any], password: str, source: str) -> tuple[int, str]:
    body = {"id": link["id"], "secret": link["secret"]} | ({"password": password} if password else {})
    status, cookie, _ = _post(place, "share-session", body, source, {})
    return status, cookie.partition(";")[0]


def _post(
    place: Ground, path: str, body: dict[str, Any], source: str, headers: dict[str, str]
) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=ANSWER_S, source_address=(source, 0))
    with closing(connection):
        content = json.dumps(body).encode()
        connection.request("POST", f"/admin/api/{path}", content, {"Content-Type": "application/json"} | headers)
        response = connection.getresponse()
        return response.status, response.getheader("Set-Cookie", ""), response.read()


def _asked(place: Ground, link: dict[str, Any], cookie: str) -> Counter[int]:
    """The answers to what one page asks."""
    by = {"Foldlog_Share": str(link["id"]), "Cookie": cookie, "Authorization": ""}
    return Counter(place.ask(path, "GET", None, ATTACKER, ANSWER_S, **by)[0] for path in ASKED)


def _shown(found: Counter[int]) -> str:
    return ", ".join(f"{count} of {status}" for status, count in sorted(found.items()))


ATTACKS: list[Attack] = [
    trial(
        "share-passwords",
        "wrong passwords of a share link, fifty at a time from one address",
        "the right one, once from each of ten others",
        passwords,
        # Some eighty guesses of an address are looked at in a minute.
        bounds=Bounds(cpu_ratio=12.0, p95_ratio=4.0),
    ),
    trial(
        "share-pages",
        "a hundred open pages of one share link, each with all of its questions",
        "one page",
        pages,
        bounds=Bounds(cpu_ratio=20.0, p95_ratio=4.0),
    ),
]
