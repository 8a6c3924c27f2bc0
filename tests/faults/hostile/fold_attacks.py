"""What makes a fold or a report expensive: combinations of values, texts of one hash
value, fat events, long agents, times at the end of time.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tests.builders.collisions import colliding, random_texts
from tests.faults.hostile.attacker import Request, batches
from tests.faults.hostile.cost import Attack, Bounds, Cost
from tests.faults.hostile.flood import Flood, flood

VALUES = 9_000
DAY_MS = 86_400_000
MIB_ABOVE_CONTROL = 150.0


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def combinations(requests: int) -> list[Request]:
    """Each event of one of 9,000 values in every dimension, drawn independently."""
    pick = random.Random(1)
    return batches([_combined(pick, [pick.randrange(VALUES) for _ in range(6)]) for _ in range(requests * 450)])


def everyday(requests: int) -> list[Request]:
    """As many events of as many bytes, of a site with a few pages and campaigns."""
    pick = random.Random(1)
    drawn = ([9000, int(300 * pick.random() ** 3), 0, 1, pick.randrange(3), pick.randrange(20)] for _ in iter(int, 1))
    return batches([_combined(pick, next(drawn)) for _ in range(requests * 450)])


def _combined(pick: random.Random, drawn: Sequence[int]) -> dict[str, Any]:
    event, page, source, medium, campaign, referrer = (f"{value:04d}" for value in drawn)
    return {
        "name": f"n{event}",
        "url": f"http://a/{page}?utm_source={source}&utm_medium={medium}&utm_campaign={campaign}",
        "referrer": f"http://{referrer}.c",
        "time": int(time.time() * 1000) - pick.randrange(2 * DAY_MS),
    }


def _paths(texts: Sequence[str]) -> list[Request]:
    return batches([{"name": "p", "url": f"http://a{text}"} for text in texts])


def _visitors(texts: Sequence[str]) -> list[Request]:
    return batches([{"name": "p", "visitor": text} for text in texts])


def colliding_paths(requests: int) -> list[Request]:
    return _paths(colliding(requests * 500, "/article"))


def random_paths(requests: int) -> list[Request]:
    return _paths(random_texts(colliding(requests * 500, "/article")))


def colliding_visitors(requests: int) -> list[Request]:
    return _visitors(colliding(requests * 500))


def random_visitors(requests: int) -> list[Request]:
    return _visitors(random_texts(colliding(requests * 500), beginning=0))


def fat(requests: int) -> list[Request]:
    """Two events of 30 KB a request, of text that does not compress well."""
    pick = random.Random(1)
    return batches([{"name": "fat", "props": _filling(pick, 30_000)} for _ in range(requests * 2)])


def thin(requests: int) -> list[Request]:
    """As many bytes in events of 500."""
    pick = random.Random(1)
    return batches([{"name": "thin", "props": _filling(pick, 460)} for _ in range(requests * 120)])


def _filling(pick: random.Random, size: int) -> dict[str, str]:
    text = base64.b64encode(pick.randbytes(size)).decode("ascii")[:size]
    return {f"k{number}": text[at : at + 1900] for number, at in enumerate(range(0, size, 1900))}


def many_agents(requests: int) -> list[Request]:
    return [_with_agent(f"{number:07d}" + "x" * 470) for number in range(requests)]


def one_agent(requests: int) -> list[Request]:
    return [_with_agent("0000000" + "x" * 470)] * requests


def _with_agent(text: str) -> Request:
    return Request(b'{"events":[{"name":"a"}]}', (f"User-Agent: Mozilla/5.0 {text}",))


def much_memory(attack: Cost, control: Cost) -> list[str]:
    more = (attack.memory_mib or 0) - (control.memory_mib or 0)
    return [f"{more:.0f} MiB more than the control"] if more > MIB_ABOVE_CONTROL else []


EXACT = f"from={today()}&to={today()}&visitors=exact"
BOUNDED = Bounds(cpu_ratio=3.0, more=much_memory)
ATTACKS: list[Attack] = [
    flood(
        "combinations",
        "events of 9,000 values in every dimension, hardly two of them alike",
        "as many events of a site with a few pages and campaigns",
        Flood(combinations, everyday, requests=80, quick=12, questions=(f"{EXACT}&by=path",)),
        Bounds(cpu_ratio=4.0, more=much_memory),
    ),
    flood(
        "colliding-paths",
        "paths that DuckDB's hash maps to one value",
        "as many random paths",
        Flood(colliding_paths, random_paths, requests=60, quick=10, passes=2, questions=(f"{EXACT}&by=path",)),
        BOUNDED,
    ),
    flood(
        "colliding-visitors",
        "visitor ids that DuckDB's hash maps to one value, then reports over that day",
        "as many random ids",
        Flood(colliding_visitors, random_visitors, requests=60, quick=10, questions=(EXACT, f"{EXACT}&interval=hour")),
        BOUNDED,
    ),
    flood(
        "fat-events",
        "events of 30 KB, folded in eight passes, so that their parts are merged",
        "as many bytes in events of 500",
        Flood(fat, thin, requests=280, quick=32, passes=8),
        BOUNDED,
    ),
    flood(
        "agents",
        "a different agent of nearly 500 characters with each request",
        "one agent of that length",
        Flood(many_agents, one_agent, requests=560, quick=80),
        BOUNDED,
    ),
]
