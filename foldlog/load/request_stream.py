"""The requests that the load generator sends."""

from __future__ import annotations

import random
from collections.abc import Iterator

from foldlog.load import EVENT_NAME
from foldlog.load.plan import Plan

TEMPLATES = 499
PATHS = 2_000
REFERRERS = ("https://www.example.org/search", "https://news.example.net/", "https://social.example.com/feed")

# Odd, so that no two numbers give the same id. Consecutive ids would compress better
# than real ones.
_ID_STEP, _ID_MASK = 0x9E3779B97F4A7C15F39CC061, (1 << 96) - 1
_SESSION_STEP, _SESSION_MASK = 0x9E3779B97F4B, (1 << 48) - 1


def make_requests(plan: Plan) -> Iterator[bytes]:
    """An endless stream of whole requests: one of TEMPLATES, filled with new ids, a
    visitor with session and address, and paths.
    """
    pick = random.Random(plan.seed)  # noqa: S311
    templates = [(_head(plan, pick), _template(plan, pick)) for _ in range(TEMPLATES)]
    run, users, events, number = int(plan.run, 16) << 96, plan.users, range(plan.events), 0
    while True:
        head, body = templates[number % TEMPLATES]
        user = int(pick.random() * users)
        session = user * _SESSION_STEP & _SESSION_MASK
        values: list[int] = []
        for event in events:
            id_ = run | (number * plan.events + event) * _ID_STEP & _ID_MASK
            # The popularity of paths follows Zipf's law, as that of real pages does.
            values += (id_, user, session, int(PATHS ** pick.random()))
        number += 1
        filled = body % tuple(values)
        yield b"%b%bContent-Length: %d\r\n\r\n%b" % (
            head,
            _address(user) if plan.forwarded else b"",
            len(filled),
            filled,
        )


def _head(plan: Plan, pick: random.Random) -> bytes:
    """A head without its last lines, as one of 200 browsers sends it."""
    headers = plan.headers.replace("Chrome/131.", f"Chrome/{pick.randrange(50, 250)}.")
    return f"POST /v1/events HTTP/1.1\r\n{headers}Content-Type: application/json\r\n".encode("ascii")


def _address(user: int) -> bytes:
    """An address in the benchmark networks (198.18.0.0/15), one for each of 100,000
    users.
    """
    return b"X-Forwarded-For: 198.%d.%d.%d\r\n" % (18 + user // 65536 % 2, user // 256 % 256, user % 256)


def _template(plan: Plan, pick: random.Random) -> bytes:
    """A batch as a page sends it, about 250 bytes an event, with placeholders for id,
    visitor, session and path.
    """
    events = [
        f'{{"name":"{EVENT_NAME}","id":"%032x","visitor":"v%08d","session":"s%012x",'
        f'"url":"{plan.site}/articles/%d?utm_source=s{pick.randrange(5)}","referrer":"{pick.choice(REFERRERS)}",'
        f'"props":{{"plan":"{pick.choice(("free", "pro"))}","step":{pick.randrange(7)}}}}}'
        for _ in range(plan.events)
    ]
    return f'{{"consent":"granted","events":[{",".join(events)}]}}'.encode("ascii")
