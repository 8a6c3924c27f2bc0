"""What comes in by the door: lines larger than their request, texts that cost more than
their bytes, other hosts, connections, guesses, bombs, and what lies about consent.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections import Counter
from contextlib import ExitStack, suppress

from tests.bench.hostile import gzip_bomb
from tests.faults.hostile.attacker import EVENTS_MAX, Request, batches, send
from tests.faults.hostile.cost import Attack, Bounds, Cost, Scene
from tests.faults.hostile.flood import Flood, beside, flood, record
from tests.faults.hostile.ground import ATTACKER, INGEST_KEY, OPERATOR, Ground
from tests.faults.hostile.trial import trial

LOG_BYTES_MAX = 21_000_000  # of one address and minute: its limit, and what neighbours write
LINE_BYTES = 320  # what an event may add to what the request brought
AMPLIFICATION_MAX = 3.0
NEIGHBOURS_BYTES = 200_000
GUESSES, GUESSES_QUICK = 2_000, 900
GUESSES_ALLOWED = 300
CONNECTIONS = 320
HELD_S = 3.0


def odd_agent(requests: int) -> list[Request]:
    """500 events of a letter, and an agent of which each byte is written as six."""
    return _tiny(requests, "\x80" * 488)


def plain_agent(requests: int) -> list[Request]:
    return _tiny(requests, "x" * 488)


def _tiny(requests: int, agent: str) -> list[Request]:
    plain = b'{"events":[%b]}' % b",".join([b'{"name":"a"}'] * EVENTS_MAX)
    return [Request(plain, (f"User-Agent: {agent}",))] * requests


def control_characters(requests: int) -> list[Request]:
    return _props(requests, "\x7f")


def letters(requests: int) -> list[Request]:
    return _props(requests, "x")


def _props(requests: int, character: str) -> list[Request]:
    event = {"name": "a", "props": {f"k{number:02d}": character * 1_950 for number in range(16)}}
    return batches([event] * 2) * requests


def amplified(attack: Cost, control: Cost) -> list[str]:
    """What is written against what was brought, and against the limit of a minute."""
    found = []
    for cost, whose in ((attack, ""), (control, "control: ")):
        written, brought = cost.log_bytes or 0, max(cost.brought_bytes, 1)
        allowed = AMPLIFICATION_MAX * brought + LINE_BYTES * EVENTS_MAX * cost.taken + NEIGHBOURS_BYTES
        if written > allowed:
            found.append(f"{whose}{written:,} bytes of log for {brought:,} that were brought")
        if written > LOG_BYTES_MAX:
            found.append(f"{whose}{written / 1e6:.0f} MB of log from one address in a minute")
    return found


def other_hosts(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    status = place.post([{"name": "a"}], Host="other.example", Origin="http://other.example")
    cost.answers = str(status)
    cost.check(status == 403, f"a host that FOLDLOG_SITES does not list was answered with {status}")
    own = place.post([{"name": "a"}], Origin="http://127.0.0.1")
    control.answers = str(place.post([{"name": "a"}], Host="example.com", Origin="http://example.com"))
    cost.check(own == 403, f"the server's own address, which is no listed site, was answered with {own}")
    control.check(control.answers == "200", f"a listed site was answered with {control.answers}")


def held_connections(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """Connections that say nothing, half of them after half a head."""
    with beside(place, cost, scene.quick), ExitStack() as opened:
        held = [_half_open(opened, place.port) for _ in range(CONNECTIONS)]
        time.sleep(HELD_S)
        left = sum(_is_open(one) for one in held)
    cost.requests, cost.said = CONNECTIONS, f"{left} of {CONNECTIONS} connections stayed open"
    cost.check(left < CONNECTIONS, "one address may hold as many connections as it likes")
    with beside(place, control, scene.quick), ExitStack() as opened:
        held = [_half_open(opened, place.port, f"127.0.2.{number + 1}") for number in range(20)]
        time.sleep(0.5)
        left = sum(_is_open(one) for one in held)
    control.requests, control.said = 20, f"{left} of 20 connections of 20 addresses stayed open"
    control.check(left == 20, control.said)


def _half_open(opened: ExitStack, port: int, source: str = ATTACKER) -> socket.socket:
    made = opened.enter_context(socket.create_connection(("127.0.0.1", port), 10, (source, 0)))
    with suppress(OSError):
        made.sendall(b"POST /v1/events HTTP/1.1\r\n")
    return made


def _is_open(one: socket.socket) -> bool:
    """Whether the server has neither answered nor closed."""
    one.setblocking(False)
    try:
        return one.recv(1) == b"\0"  # never sent: a byte is an answer, none is an end
    except BlockingIOError:
        return True
    except OSError:
        return False


def guesses(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """Tokens tried one after the other; the operator comes from another address."""
    count = GUESSES_QUICK if scene.quick else GUESSES
    tried = [
        Request(b"", (f"Authorization: Bearer guess-{number:06d}-of-a-token",), ask="/admin/api/status")
        for number in range(count)
    ]
    with beside(place, cost, scene.quick):
        sent = send(place.port, tried)
        during = place.ask("/admin/api/status")[0]
    record(cost, sent)
    compared = sent.statuses["401"]
    cost.check(compared <= GUESSES_ALLOWED, f"{compared} guesses of {count} were compared")
    cost.check(not sent.statuses["200"], "a guess was right")
    control.answers = str(during)
    control.check(during == 200, f"the operator was answered with {during}")
    same = place.ask("/admin/api/status", source=ATTACKER)[0]
    control.said = f"with the right token from the guesser's address: {same}"


def short_token(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    environ = place.environ | {"FOLDLOG_ADMIN_TOKEN": "x", "FOLDLOG_DATA_DIR": str(place.root / "short")}
    cost.said = _starts(place, environ)
    cost.check(cost.said == "refused", "an admin token of one letter was accepted")
    enough = environ | {"FOLDLOG_ADMIN_TOKEN": "x" * 20, "FOLDLOG_DATA_DIR": str(place.root / "long")}
    control.said = _starts(place, enough)
    control.check(control.said == "accepted", "a token of twenty letters was refused")


def _starts(place: Ground, environ: dict[str, str]) -> str:
    command = place.checkout.command("check-config")
    done = subprocess.run(command, env=environ, cwd=place.root, capture_output=True, timeout=60, check=False)
    return "accepted" if done.returncode == 0 else "refused"


def bombs(requests: int) -> list[Request]:
    """60 KB of gzip that hold 60 MB."""
    packed = gzip_bomb().partition(b"\r\n\r\n")[2]
    return [Request(packed, ("Content-Encoding: gzip",), is_packed=False)] * requests


def noise(requests: int) -> list[Request]:
    """As many bytes that are no gzip at all."""
    size = len(bombs(1)[0].plain)
    return [Request(os.urandom(size), ("Content-Encoding: gzip",), is_packed=False)] * requests


def consent(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Every way to say no beside a yes."""
    cookie = "analytics_consent"
    noes: dict[str, dict[str, str]] = {
        "GPC twice in one header": {"Sec_GPC": "1, 1"},
        "GPC with a blank": {"Sec_GPC": " 1"},
        "DNT twice in one header": {"DNT": "1, 1"},
        "a cookie twice, no first": {"Cookie": f"{cookie}=denied; {cookie}=granted", "Foldlog_Consent": ""},
        "a cookie twice, no last": {"Cookie": f"{cookie}=granted; {cookie}=denied", "Foldlog_Consent": ""},
        "a yes and a no in one header": {"Foldlog_Consent": "granted, denied"},
        "no in capitals": {"Foldlog_Consent": "DENIED"},
    }
    found = Counter[str]()
    for name, headers in noes.items():
        status = place.post([{"name": "a"}], **headers)
        found[str(status)] += 1
        cost.check(status == 403, f"{name}: {status}")
    cost.requests, cost.answers = len(noes), ", ".join(f"{each} of {status}" for status, each in found.items())
    yes = {
        "a header": {},
        "a cookie": {"Cookie": f"{cookie}=granted", "Foldlog_Consent": ""},
        "GPC 0": {"Sec_GPC": "0"},
    }
    for name, headers in yes.items():
        status = place.post([{"name": "a"}], **headers)
        control.check(status == 200, f"{name}: {status}")
    control.requests, control.answers = len(yes), "200"


def request_id(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """What a trusted proxy passes on of a client may come back and be logged."""
    for name, given in {"long": "x" * 7_000, "colours": "a\x1b[31mb", "C1": "a\x9b31m"}.items():
        with socket.create_connection(("127.0.0.1", place.port), 10, (OPERATOR, 0)) as made:
            made.sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Request-Id: %b\r\n\r\n" % given.encode("latin-1"))
            answer = made.recv(65_536)
        id_ = answer.lower().partition(b"x-request-id: ")[2].partition(b"\r\n")[0]
        cost.check(len(id_) <= 200, f"{name}: an id of {len(id_)} bytes came back")
        cost.check(all(32 <= byte < 127 for byte in id_), f"{name}: came back raw")
    log = place.log_file.read_bytes()
    cost.check(b"\x1b" not in log and b"x" * 1_000 not in log, "the log has the id raw, or as long as it was")
    control.check(place.ask("/nowhere", X_Request_Id="abc-123")[0] == 404, "an ordinary id was refused")


def taken_ids(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """An anonymous client sends the ids that a server will send later with its key."""
    ids = [f"invoice-2026-{number:04d}" for number in range(20)]
    place.post([{"name": "guess", "id": id_} for id_ in ids])
    key = {"Authorization": f"Bearer {INGEST_KEY}"}
    for _ in range(2):  # the control: a server's own retry counts once
        control.answers = str(place.post([{"name": "paid", "id": id_} for id_ in ids], OPERATOR, **key))
    place.fold()
    totals = place.totals()
    cost.check(totals["counted"] == 40, f"{totals['counted']} events are counted, not 40")
    control.check(totals["duplicates"] == 20, f"{totals['duplicates']} repeats of the server's own were seen, not 20")


def referrers(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Hosts of referrers whose letters become two, or none, when they are lowered."""
    hosts = {"https://\u0130STANBUL.example/": cost, "https://WWW.Example.ORG/": control}
    for url in hosts:
        place.post([{"name": "a", "referrer": url}])
    place.fold()
    answer = json.loads(place.ask("/admin/api/report?by=referrer&bots=include")[1])
    found = [row.get("value") for row in answer["rows"]]
    control.check("www.example.org" in found or "example.org" in found, f"found {found}")
    cost.check(not any("\u0307" in (value or "") for value in found), f"found {found!r}")
    cost.said = f"{found!a}"


ATTACKS: list[Attack] = [
    flood(
        "amplification",
        '500 times `{"name":"a"}` with an agent of 488 times U+0080',
        "the same with an agent of 488 letters",
        Flood(odd_agent, plain_agent, requests=60, quick=8),
        Bounds(more=amplified),
    ),
    flood(
        "costly-texts",
        "two events with 16 properties of 1,950 times U+007F",
        "the same with letters",
        Flood(control_characters, letters, requests=200, quick=40),
    ),
    flood(
        "bombs", "60 KB of gzip that hold 60 MB", "as many bytes of noise", Flood(bombs, noise, requests=100, quick=30)
    ),
    trial(
        "other-hosts",
        "`Host` and `Origin` of a host that FOLDLOG_SITES does not list",
        "a listed one",
        other_hosts,
        {"FOLDLOG_SITES": "example.com"},
    ),
    trial(
        "connections",
        f"{CONNECTIONS} connections from one address, each with half a head",
        "20 of 20 addresses",
        held_connections,
    ),
    trial("guesses", "tokens guessed from one address", "the operator's token from another one", guesses),
    trial("short-token", "an admin token of one letter", "one of twenty", short_token),
    trial("consent", "a no beside a yes, in headers and cookies", "a yes alone", consent),
    trial(
        "request-id",
        "an `X-Request-Id` of 7,000 bytes, or with escapes, through a trusted proxy",
        "an ordinary one",
        request_id,
        {"FOLDLOG_TRUSTED_PROXIES": OPERATOR},
    ),
    trial(
        "taken-ids",
        "ids that a server sends later with its key, sent first without one",
        "a server's own retry",
        taken_ids,
    ),
    trial("referrers", "referrer hosts whose letters become several when lowered", "an ordinary host", referrers),
]
