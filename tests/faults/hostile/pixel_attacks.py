"""What the pixel and the script cost at worst: floods with a key that everyone in a
mailing has, with keys that are none, and requests for the script that never take it.
"""

from __future__ import annotations

import secrets

from tests.faults.hostile.attacker import Request, Sent, send
from tests.faults.hostile.cost import Attack, Bounds, Cost, Scene
from tests.faults.hostile.flood import Flood, beside, flood, record
from tests.faults.hostile.ground import ATTACKER, OPERATOR, Ground
from tests.faults.hostile.trial import trial

LOADS, LOADS_QUICK = 8_000, 1_200
LIMIT = 1_000  # of one address in a minute: small, so that a quick run meets it
HONEST = "127.0.3.1"
FORGED_MIB = 40.0
HEADER = 8_000  # what one header may have
PIXEL = "/v1/pixel.gif"
BROWSER = Request(b"").headers


def pixel_flood(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """One recipient of a mailing loads its pixel without end; another one once."""
    count = LOADS_QUICK if scene.quick else LOADS
    path = f"{PIXEL}?k={_key(place)}&consent=granted"
    with beside(place, cost, scene.quick):
        sent = send(place.port, [Request(b"", ask=path)] * count)
        other = place.ask(path, source=OPERATOR, Authorization="")[0]
    record(cost, sent)
    cost.check(0 < sent.statuses["200"] <= LIMIT * 2, f"{sent.statuses['200']} loads of one address were taken")
    _check_stored(place, cost, "mail_open", sent.statuses["200"] + (other == 200))
    control.check(other == 200, f"another recipient was answered with {other}")
    page = Request(b'{"events":[{"name":"page_of_control","props":{"campaign":"may"}}]}', is_packed=False)
    with beside(place, control, scene.quick):
        sent = send(place.port, [page] * count, HONEST)
    record(control, sent)
    _check_stored(place, control, "page_of_control", sent.statuses["200"])


def _check_stored(place: Ground, cost: Cost, name: str, taken: int) -> None:
    """What was answered with 200 is in the log, and nothing else is."""
    stored = sum(line["name"] == name for line in place.lines())
    cost.check(stored == taken, f"{taken} loads were answered with 200, {stored} are in the log")


def forged_keys(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """A key of the greatest length with each request, no two alike, and none of them
    one; beside it pages of a host that may not send.
    """
    count = LOADS_QUICK if scene.quick else LOADS
    real = _key(place)
    forged = [f"{real[:-8]}{secrets.token_hex(4)}" for _ in range(count // 2)]
    forged += ["~".join(["1f0c93ab", "a" * 250, "b" * 60, secrets.token_hex(30)]) for _ in range(count - len(forged))]
    with beside(place, cost, scene.quick):
        sent = send(place.port, [Request(b"", ask=f"{PIXEL}?k={key}&consent=granted") for key in forged])
        honest = place.ask(f"{PIXEL}?k={real}&consent=granted", source=ATTACKER, Authorization="")[0]
    record(cost, sent)
    cost.check(sent.statuses["403"] == count, f"{sent.statuses['403']} of {count} were refused")
    cost.check((cost.memory_mib or 0.0) < FORGED_MIB, f"{cost.memory_mib:.0f} MiB more")
    _check_stored(place, cost, "mail_open", honest == 200)
    control.check(honest == 200, f"the real key was answered with {honest} at the same address")
    with beside(place, control, scene.quick):
        sent = _strange_pages(place.port, count)
    record(control, sent)


def _strange_pages(port: int, count: int) -> Sent:
    page = Request(b'{"events":[{"name":"a"}]}', (*BROWSER, "Sec-Fetch-Site: cross-site"), is_packed=False)
    return send(port, [page] * count, HONEST)


def _key(place: Ground) -> str:
    made = place.command("token", "create", "--scope", "pixel", "--site", "127.0.0.1", "--use", "mail_open/may")
    return made.stdout.decode().split("\n")[0]


def odd_script_requests(requests: int) -> list[Request]:
    """HEAD, ranges, and headers of thousands of parts."""
    encodings = "Accept-Encoding: " + "," * HEADER
    marks = "If-None-Match: " + '"x",' * (HEADER // 4)
    ranges = "Range: bytes=" + "0-0," * (HEADER // 4)
    kinds = [
        Request(b"", ("User-Agent: x",), ask="/tracker.js", method="HEAD"),
        Request(b"", (encodings,), ask="/tracker.js"),
        Request(b"", (marks,), ask="/tracker.v1.js"),
        Request(b"", (ranges,), ask="/tracker.v1.js"),
    ]
    return (kinds * requests)[:requests]


def script_requests(requests: int) -> list[Request]:
    """A browser that loads the script anew each time, with headers as long."""
    long = f"X-Padding: {'x' * HEADER}"
    kinds = [
        Request(b"", ("Accept-Encoding: gzip, br", *extra), ask="/tracker.js")
        for extra in ((), (long,), (long,), (long,))
    ]
    return (kinds * requests)[:requests]


ATTACKS: list[Attack] = [
    trial(
        "pixel-flood",
        "loads of one pixel, with the key that all recipients have",
        "as many events of a page, and one load of another recipient",
        pixel_flood,
        {"FOLDLOG_RATE_LIMIT": str(LIMIT)},
    ),
    trial(
        "pixel-forged",
        "loads with keys that are none, each another one",
        "as many events of a page that may not send, and the real key at the same address",
        forged_keys,
    ),
    flood(
        "script-flood",
        "HEAD, ranges and headers of thousands of parts for the script",
        "plain loads of it, with headers as long",
        Flood(odd_script_requests, script_requests, requests=8_000, quick=1_200),
        Bounds(cpu_ratio=2.0),
    ),
]
