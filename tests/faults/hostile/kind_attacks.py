"""What the named kinds of report may cost: the last minutes asked without end, cohorts
and conversions over visitors of one hash, most periods, and goals by the hundred, kept
or written into the file by hand.
"""

from __future__ import annotations

import json
from collections import Counter

from tests.faults.hostile.attacker import Request
from tests.faults.hostile.cost import Attack, Bounds, Cost, Scene
from tests.faults.hostile.flood import Flood, asking, beside, flood
from tests.faults.hostile.fold_attacks import BOUNDED, colliding_visitors, random_visitors, today
from tests.faults.hostile.ground import Ground
from tests.faults.hostile.reader_attacks import fill
from tests.faults.hostile.trial import trial

GOALS = 1_000
GOALS_MAX = 100
CONVERSIONS = "/admin/api/goals/report"
# Each filter has as many globs with as many stars as its length allows.
COSTLY = ";".join(f"path!~*{'a*b*c*d*e*f*g*h*i*'}{number:02d}" for number in range(20))


def live_often(requests: int) -> list[Request]:
    return asking(["/admin/api/live"] * requests)


def one_report_often(requests: int) -> list[Request]:
    return asking([f"/admin/api/report?from={today()}&to={today()}"] * requests)


def most_periods(requests: int) -> list[Request]:
    """Each question is another one, so that none is remembered."""
    span = ("period=day&from=2026-01-01&to=2026-04-10", "period=day&from=2020-01-01")
    return asking([f"/admin/api/cohorts?{span[n % 2]}&site=site-{n}.example" for n in range(requests)])


def few_periods(requests: int) -> list[Request]:
    return asking(
        [
            f"/admin/api/cohorts?period=month&from=2026-01-01&to=2026-04-10&site=site-{n}.example"
            for n in range(requests)
        ]
    )


def many_goals(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """A hundred honest goals become costly ones, and more are put; then a thousand
    stand in the file.
    """
    fill(place)
    for number in range(GOALS_MAX):
        _put(place, f"{number:04}", f"path==/{number}")
    control.answers, control.product_cpu_s = _converted(place, "one")
    control.requests = 1
    statuses: Counter[int] = Counter()
    with beside(place, cost, True):
        for number in range(GOALS):
            statuses[_put(place, f"{number:04}", COSTLY)] += 1
        cost.answers, first_s = _converted(place, "all")
        _write_by_hand(place)
        again, second_s = _converted(place, "all by hand")
    cost.requests, cost.product_cpu_s = GOALS + 1, (first_s + second_s) / 2
    cost.said = f"{statuses[200]} kept, {statuses[409]} refused; edited by hand: {again}"
    cost.check(statuses == {200: GOALS_MAX, 409: GOALS - GOALS_MAX}, f"answers {dict(statuses)}")
    cost.check(control.answers == f"200, {GOALS_MAX} goals", "not all honest goals are answered")
    cost.check(again == cost.answers, "a file that was edited by hand is not read as far as it is good")


def _put(place: Ground, name: str, filter_: str) -> int:
    body = json.dumps({"name": name, "filter": filter_}).encode()
    return place.ask("/admin/api/goals", "PUT", body, Content_Type="application/json")[0]


def _converted(place: Ground, site: str) -> tuple[str, float]:
    """How many goals have numbers, and what that cost. `site` makes it another
    question.
    """
    before = place.cpu_seconds()
    status, content = place.ask(f"{CONVERSIONS}?from={today()}&to={today()}&filter=site!={site.replace(' ', '-')}")
    found = json.loads(content).get("goals", []) if status == 200 else []
    answered = sum(each["events"] is not None for each in found)
    return f"{status}, {answered} goals", place.cpu_seconds() - before


def _write_by_hand(place: Ground) -> None:
    goals = [{"kind": "goal", "name": f"{number:04}", "filter": COSTLY} for number in range(GOALS)]
    (place.data / "goals.json").write_text(json.dumps([*goals, {"kind": "gaol"}, 7]), "utf-8")


OVER_VISITORS = (
    f"/admin/api/cohorts?period=day&to={today()}",
    f"{CONVERSIONS}?from={today()}",
    "/admin/api/live?limit=100",
    f"/admin/api/funnel?from={today()}&by=event&steps={';;'.join(['event==p'] * 8)}",
    f"/admin/api/funnel?from={today()}&window=visit&steps={';;'.join(['event==p'] * 8)}",
    f"/admin/api/paths?from={today()}&by=event&at=p",
)
ATTACKS: list[Attack] = [
    flood(
        "live-often",
        "the last minutes, again and again with one token",
        "one report as often",
        Flood(live_often, one_report_often, requests=500, quick=120),
    ),
    flood(
        "most-periods",
        "cohorts of 100 days and of more than may be, each another question",
        "as many questions about four months",
        Flood(most_periods, few_periods, requests=60, quick=16),
        Bounds(cpu_ratio=4.0, p95_ratio=4.0),
    ),
    flood(
        "colliding-cohorts",
        "visitor ids that DuckDB's hash maps to one value, then the kinds of report over visitors",
        "as many random ids",
        Flood(colliding_visitors, random_visitors, requests=40, quick=10, questions=OVER_VISITORS),
        BOUNDED,
    ),
    trial(
        "many-goals",
        "1,000 goals of 20 globs with ten stars each, kept and then written into the file by hand",
        "the conversions of 100 goals of a page each",
        many_goals,
        {"FOLDLOG_RATE_LIMIT_TOKEN": "0"},
        Bounds(cpu_ratio=20.0),
    ),
]
