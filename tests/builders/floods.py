"""What one client may send to make a fold or a report expensive, and beside each flood
its honest control: as many events, of as many bytes.

All of it is within the limits of the API; `lines` of a flood are log lines as a worker
writes them.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from ingest.collect.encode import Line
from shared.timestamps import epoch_ms
from tests.builders.collisions import BLOCK, colliding, colliding_under_any_prefix, random_texts
from tests.builders.logs import NOON, line

DAY_MS = 86_400_000
VALUES = 9_000
END_OF_TIME = "9999-12-31T23:59:59.999Z"


class Flood(NamedTuple):
    """`attack` and `control` are equally long."""

    attack: list[Line]
    control: list[Line]


def combinations(
    events: int, values: int = VALUES, site: str = "example.com", noon: int = NOON, seed: int = 1
) -> list[Line]:
    """Each event of one of so many values in every dimension that a client fills, drawn
    independently, at any time of the last two days: hardly two of them share a row of
    counters.
    """
    pick = random.Random(seed)
    return [
        _combined(number, noon, site, pick.randrange(2 * DAY_MS), *_draws(pick, values)) for number in range(events)
    ]


def everyday(events: int, site: str = "example.com", noon: int = NOON, seed: int = 1) -> list[Line]:
    """The control of `combinations`: as many events of as many bytes, over the same
    days, of a site with a few pages, campaigns and referrers.
    """
    pick = random.Random(seed)
    made = []
    for number in range(events):
        event, campaign = pick.choice((9000, 9000, 9001)), pick.randrange(3)
        page, referrer = int(300 * pick.random() ** 3), pick.randrange(20)
        made.append(_combined(number, noon, site, pick.randrange(2 * DAY_MS), event, page, campaign, 0, 1, referrer))
    return made


def _draws(pick: random.Random, values: int) -> list[int]:
    return [pick.randrange(values) for _ in range(6)]


def _combined(number: int, noon: int, site: str, ago: int, *drawn: int) -> Line:
    event, page, source, medium, campaign, referrer = (f"{value:04d}" for value in drawn)
    return line(
        f"combined-{noon}-{number:08d}",
        noon - ago,
        noon,
        site=site,
        visitor=f"visitor-{number % 1000:04d}",
        name=f"n{event}",
        url=f"http://a/{page}?utm_source={source}&utm_medium={medium}&utm_campaign={campaign}",
        referrer=f"http://{referrer}.c/",
    )


class Place(NamedTuple):
    """Where a text goes: the fields of its line, what must stand around it there, and
    how often each text comes: an id once; seven times what a part's dictionary holds
    only where few values make a column.
    """

    fields: Callable[[str], dict[str, Any]]
    prefix: str = ""
    suffix: str = ""
    lower_case: bool = False
    repeats: int = 3


# A text of the flood stands alone in a column of the fold, the archive or the counters.
PLACES = {
    "path": Place(lambda text: {"url": f"https://example.com{text}"}, "/article"),
    "url": Place(lambda text: {"url": text}, "https://example.com/a?text="),
    "url tail": Place(lambda text: {"url": f"https://example.com/a{text}"}, "?text=--", repeats=7),
    "visitor": Place(lambda text: {"visitor": text}, repeats=7),
    "session": Place(lambda text: {"session": text}, repeats=7),
    "id": Place(lambda text: {"id_": text}, repeats=1),
    "event": Place(lambda text: {"name": text}),
    "site": Place(lambda text: {"site": text}, lower_case=True),
    "referrer": Place(lambda text: {"referrer": f"https://{text}/"}, lower_case=True),
    "utm_source": Place(lambda text: {"url": f"https://example.com/?utm_source={text}"}),
    "ua": Place(lambda text: {"ua": text}, "Mozilla/5.0 (X11; Linux x86_64) "),
    "props": Place(lambda text: {"props": {"k": text.removeprefix('{"k":"').removesuffix('"}')}}, '{"k":"--', '"}'),
    "props value": Place(lambda text: {"props": {"k": text}}),
}
# Of as many characters as the second family needs.
LONG_PLACES = ("path", "url", "url tail", "props", "props value")


def colliding_texts(place: str, texts: int, *, under_any_prefix: bool = False, noon: int = NOON) -> Flood:
    """Different texts of one or two hash values in one field, each `repeats` times; the
    control has random ones of equal length.
    """
    to = PLACES[place]
    if under_any_prefix:
        made = colliding_under_any_prefix(texts, to.prefix, to.suffix)
    else:
        made = colliding(texts, to.prefix, to.suffix, lower_case=to.lower_case)
    beginning = -(-len(to.prefix) // BLOCK) * BLOCK
    return Flood(*(_with_texts(to, each, noon) for each in (made, random_texts(made, beginning, len(to.suffix)))))


def _with_texts(to: Place, texts: Sequence[str], noon: int) -> list[Line]:
    numbers = count()
    made = []
    for _ in range(to.repeats):
        for text in texts:
            number = next(numbers)
            defaults: dict[str, Any] = {"id_": f"event-{noon}-{number:08d}", "visitor": f"v-{number % 1000:04d}"}
            made.append(line(**{**defaults, **to.fields(text)}, time_ms=noon - number % 3_600_000, received_ms=noon))
    return made


def fat(events: int, bytes_of_event: int = 30_000, noon: int = NOON, seed: int = 1) -> Flood:
    """Events nearly as large as the API takes, of text that does not compress well; the
    control has as many bytes, in events of 500.
    """
    pick = random.Random(seed)
    attack = list(fat_events(events, bytes_of_event, noon, pick))
    thin = bytes_of_event // 500
    control = [line(f"thin-{noon}-{n:08d}", noon - n, noon, props=_filling(pick, 300)) for n in range(events * thin)]
    return Flood(attack, control)


def fat_events(
    events: int, bytes_of_event: int = 30_000, noon: int = NOON, pick: random.Random | None = None
) -> Iterator[Line]:
    """The attack alone, one by one: so many need not fit into memory. Every tenth is of
    one visitor.
    """
    pick = pick or random.Random(1)
    for n in range(events):
        visitor = "visitor-1" if n % 10 else "visitor-2"
        yield line(f"fat-{noon}-{n:08d}", noon - n, noon, visitor=visitor, props=_filling(pick, bytes_of_event))


def _filling(pick: random.Random, size: int) -> dict[str, str]:
    """Properties of about so many bytes, none over 2,000 characters."""
    text = base64.b64encode(pick.randbytes(size)).decode("ascii")[:size]
    return {f"k{number}": text[at : at + 1900] for number, at in enumerate(range(0, size, 1900))}


def at_the_end_of_time(id_: str = "event-9999") -> Line:
    """What an import of another log may hold: received now, of the last millisecond
    that a time can be.
    """
    return line(id_, epoch_ms(END_OF_TIME), NOON)
