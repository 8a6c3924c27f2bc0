"""What funnels and paths may cost: steps of costly globs, one visitor with very many
events, ways between very many pages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from tests.faults.hostile.attacker import Request, batches
from tests.faults.hostile.cost import Attack, Bounds, Cost, Scene
from tests.faults.hostile.flood import Flood, beside, flood
from tests.faults.hostile.fold_attacks import BOUNDED, much_memory, today
from tests.faults.hostile.ground import Ground
from tests.faults.hostile.kind_attacks import COSTLY
from tests.faults.hostile.reader_attacks import fill
from tests.faults.hostile.trial import trial

STEPS = 8
EVENTS_OF_REQUEST = 450
OF_A_VISITOR = 9
PAGES = 20
UNLIMITED = {"FOLDLOG_RATE_LIMIT_EVENTS": "0", "FOLDLOG_RATE_LIMIT_BYTES": "0"}
SPAN = f"from={today()}&to={today()}"
EVERY_STEP = ";;".join(["path!="] * STEPS)
ASKED = (
    f"/admin/api/funnel?{SPAN}&steps={EVERY_STEP}&window=365d&by=path",
    f"/admin/api/funnel?{SPAN}&steps={EVERY_STEP}&window=visit",
    f"/admin/api/paths?{SPAN}&at=/at&limit=1000",
)


def of_one_visitor(requests: int) -> list[Request]:
    """Every other event is at the page that is asked about."""
    return _views(requests, PAGES, visitors=1)


def of_many_visitors(requests: int) -> list[Request]:
    return _views(requests, PAGES, visitors=requests * EVENTS_OF_REQUEST // OF_A_VISITOR)


def between_many_pages(requests: int) -> list[Request]:
    """Hardly a page is seen twice."""
    return _views(requests, requests * EVENTS_OF_REQUEST, visitors=requests * EVENTS_OF_REQUEST // OF_A_VISITOR)


def between_few_pages(requests: int) -> list[Request]:
    return of_many_visitors(requests)


def _views(requests: int, pages: int, visitors: int) -> list[Request]:
    return batches(
        [
            {"name": "pageview", "visitor": f"v{n % visitors:07d}", "url": f"http://a/{_page(n, visitors, pages)}"}
            for n in range(requests * EVENTS_OF_REQUEST)
        ]
    )


def _page(number: int, visitors: int, pages: int) -> str:
    """Of the events of a visitor every other one is at one page."""
    return "at" if number // visitors % 2 else f"{number % pages:07d}"


def costly_steps(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Each step has as many globs with as many stars as a filter may have."""
    fill(place)
    control.answers, control.product_cpu_s = _funnel(place, [f"path==/{step}" for step in range(STEPS)])
    control.requests = cost.requests = 1
    with beside(place, cost, True):
        cost.answers, used_s = _funnel(place, [COSTLY] * STEPS)
    cost.product_cpu_s = used_s
    cost.check(cost.answers == f"200, {STEPS} steps", f"answered with {cost.answers}")
    cost.check(control.answers == f"200, {STEPS} steps", f"the control was answered with {control.answers}")


def _funnel(place: Ground, steps: Sequence[str]) -> tuple[str, float]:
    """The status and how many steps it has, and the CPU seconds."""
    before = place.cpu_seconds()
    status, content = place.ask(f"/admin/api/funnel?{SPAN}&steps={quote(';;'.join(steps), safe=';=~*!/')}")
    found = json.loads(content).get("steps", []) if status == 200 else []
    return f"{status}, {len(found)} steps", place.cpu_seconds() - before


ATTACKS: list[Attack] = [
    trial(
        "costly-steps",
        "a funnel of eight steps, each of 20 globs with ten stars",
        "a funnel of eight steps of a page each",
        costly_steps,
        bounds=Bounds(cpu_ratio=20.0),
    ),
    flood(
        "one-visitor",
        "a million events of one visitor; then funnels of eight steps that all of them take, and paths",
        "as many events of visitors who have nine each",
        Flood(of_one_visitor, of_many_visitors, requests=2_223, quick=40, questions=ASKED, settings=UNLIMITED),
        BOUNDED,
    ),
    flood(
        "many-ways",
        "paths around one page over 100,000 others; funnels of them",
        "paths over twenty pages",
        Flood(between_many_pages, between_few_pages, requests=445, quick=40, questions=ASKED, settings=UNLIMITED),
        Bounds(cpu_ratio=4.0, more=much_memory),
    ),
]
