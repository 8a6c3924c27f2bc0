"""A small set of events on two whole days, with numbers that can be counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.builders.worker import Worker

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
TODAY = datetime.now(UTC).date()
# The day before yesterday and yesterday: whole days that are still accepted.
D1, D2 = TODAY - timedelta(days=2), TODAY - timedelta(days=1)
SITE = "example.com"
NEWS = "?utm_source=news&utm_medium=mail&utm_campaign=may"


def sent(number: int, day: Any, time: str, name: str, visitor: str, path: str, **fields: object) -> dict[str, Any]:
    url = f"https://{SITE}{path}"
    return {"id": f"event-{number:02}", "time": f"{day}T{time}Z", "name": name, "visitor": visitor, "url": url} | fields


#    no. day  time            name        visitor path
PEOPLE = [
    sent(1, D1, "12:00:00", "pageview", "ann", "/", referrer="https://search.example/q?x=1"),
    sent(2, D1, "12:10:00", "pageview", "ann", "/pricing", referrer=f"https://{SITE}/"),
    sent(3, D1, "12:20:00", "pageview", "bob", "/"),
    sent(4, D1, "12:30:00", "order", "bob", "/pricing", value=9.5, props={"plan": "pro"}),
    sent(5, D2, "08:00:00", "pageview", "ann", "/"),
    sent(6, D2, "08:14:59.999", "pageview", "cat", f"/docs{NEWS}"),
    sent(7, D2, "08:15:00", "pageview", "cat", "/docs"),
    sent(8, D2, "09:00:00", "=1+1", "dan", "/", props={"plan": "free"}),
]
BOTS = [sent(9, D2, "09:30:00", "pageview", "bot", "/robots.txt")]
AGAIN = PEOPLE[:1]


SPAN = {"from": str(D1), "to": str(D2)}


def send_visits(worker: Worker) -> None:
    """Send nine events, one of them twice, and fold them. The worker's site is SITE."""
    for events, agent in ((PEOPLE, FIREFOX), (BOTS, GOOGLEBOT), (AGAIN, FIREFOX)):
        answer = worker.post(events, headers={"User-Agent": agent, "Accept-Language": "de-DE,en"})
        assert answer.json() == {"accepted": len(events), "rejected": []}
    worker.fold()
