"""Events of several sites, those of each marked in every text: what shows the mark of
one site shows something of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.builders.visits import D1, D2
from tests.builders.worker import Worker

OWN, SECOND, OTHER = "own.example", "second.example", "other.example"
MARK = "xmarkx"


def marked_events(site: str, mark: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{mark}-event-{number}",
            "time": f"{(D1, D2)[number % 2]}T12:00:0{number}Z",
            "name": f"{mark}_name" if number else "pageview",
            "visitor": f"{mark}-visitor-{number % 3}",
            "session": f"{mark}-session",
            "site": site,
            "url": f"https://{site}/{mark}?utm_source={mark}&utm_campaign={mark}&q={mark}",
            "referrer": f"https://{mark}.example/{mark}",
            "value": 7,
            "props": {f"{mark}_key": f"{mark}_value", "plan": f"{mark}_plan"},
        }
        for number in range(count)
    ]


def send_marked(worker: Worker, sites: Mapping[str, tuple[str, int]]) -> None:
    """Send and fold so many events of each site, with its mark."""
    for site, (mark, count) in sites.items():
        assert worker.post(marked_events(site, mark, count)).json()["accepted"] == count
    worker.fold()
