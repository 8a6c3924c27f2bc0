"""How many agents of public lists get the right class. The lists are packages that
`make setup` installs for this test alone; nothing of them is in the repository.

`npm user-agents` is what browsers sent lately, `crawler-user-agents` what crawlers
send, `device-detector` holds an agent of each model that its authors met, however rare.
`pytest -s` shows the rates and each miss.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import crawleruseragents
import pytest
import yaml

from compactor.fold.user_agents import parse_user_agent
from tests.builders.programs import missing

pytestmark = [pytest.mark.long, pytest.mark.component]

Agents = set[tuple[str, str]]  # the agent and its class

_CLASSES = {
    "smartphone": "mobile",
    "phablet": "mobile",
    "feature phone": "mobile",
    "tablet": "tablet",
    "tv": "tv",
    "desktop": "desktop",
}


def rates(agents: Agents) -> dict[str, float]:
    """The share of each class that is found, in percent. The misses are printed."""
    seen: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for ua, expected in sorted(agents):
        parsed = parse_user_agent(ua)
        found = "bot" if parsed.bot else parsed.device
        seen[expected] += 1
        right[expected] += found == expected
        if found != expected:
            sys.stdout.write(f"{expected}, found {found}: {ua}\n")
    found_rates = {kind: 100 * right[kind] / seen[kind] for kind in sorted(seen)}
    sys.stdout.write("".join(f"{kind}: {rate:.2f}% of {seen[kind]}\n" for kind, rate in found_rates.items()))
    return found_rates


def npm_agents() -> Agents:
    file = Path(sys.prefix) / "node_modules" / "user-agents" / "dist" / "user-agents.json"
    if not file.exists():
        missing("the npm package user-agents is not in the environment: `make setup` with npm")
    return {(each["userAgent"], each["deviceCategory"]) for each in json.loads(file.read_bytes())}


def detector_agents() -> Agents:
    """The agents that tell the class by themselves: a test with client hints has more
    than an agent.
    """
    package = importlib.util.find_spec("device_detector")
    if package is None or not package.submodule_search_locations:
        missing("the package device-detector is not in the environment: `make setup`")
    fixtures = Path(package.submodule_search_locations[0]) / "tests" / "fixtures" / "upstream"
    agents: Agents = set()
    for file in sorted(fixtures.glob("*.yml")):
        agents |= set(_classified(yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader) or []))
    return agents


def _classified(entries: Iterable[dict[str, object]]) -> Iterable[tuple[str, str]]:
    for entry in entries:
        device = entry.get("device")
        kind = "bot" if entry.get("bot") else _CLASSES.get(str(device.get("type")) if isinstance(device, dict) else "")
        if kind is not None and not entry.get("headers"):
            yield str(entry["user_agent"]), kind


def test_agents_that_browsers_send() -> None:
    agents = npm_agents()
    found = rates(agents)
    share = sum(found[kind] * sum(expected == kind for _, expected in agents) for kind in found) / len(agents)
    assert share >= 99.9


def test_agents_that_crawlers_send() -> None:
    assert rates({(ua, "bot") for each in crawleruseragents.CRAWLER_USER_AGENTS_DATA for ua in each["instances"]}) == {
        "bot": 100
    }


def test_agents_of_every_model() -> None:
    found = rates(detector_agents())
    assert {kind: found[kind] for kind in ("bot", "desktop", "tv") if found[kind] < 97} == {}
    assert {kind: found[kind] for kind in ("mobile", "tablet") if found[kind] < 95} == {}
