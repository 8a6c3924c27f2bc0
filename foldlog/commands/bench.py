"""`foldlog bench`: puts load on a server of this host, compares what it counted, and
judges with --p99 whether the server did what was wanted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from foldlog.commands import Invocation
from foldlog.load import EVENT_NAME
from foldlog.load.acceptance import Finding, findings, misses, with_spike
from foldlog.load.plan import ANSWER_S, BEHIND_S, Plan
from foldlog.load.run import Result, make_plan
from foldlog.load.run import run as run_load
from foldlog.load.summary import summary
from foldlog.load.target import Target, make_target
from foldlog.terminal import Console, pairs, table
from shared.exit_codes import PROBLEMS, SUCCESS


def run(call: Invocation) -> int:
    given = call.options
    key = Path(given.key_file).read_text("utf-8").strip() if given.key_file else None
    target = make_target(given.url, key, given.origin, call.settings)
    plan = _plan(target, given)
    count = int((given.rate * given.warm_up + sum(plan.rates) * plan.slice_s) * given.events)
    warning = f"writes about {count:,} events named {EVENT_NAME} to {target.url}"
    _say(f"{warning}; the server counts them, and nothing removes them")
    try:
        result = run_load(target, plan, must_count=given.p99 is not None)
    except KeyboardInterrupt:
        _say("stopped: nothing was compared, and what was written stays")
        raise
    found = [] if given.p99 is None else findings(plan, result, given.p99)
    _show(plan, result, found, as_json=given.json)
    for line in misses(plan, result, found):
        _say(line)
    is_reached = all(each.is_reached for each in found)
    return SUCCESS if is_reached and not result.is_lossy else PROBLEMS


def _plan(target: Target, given: argparse.Namespace) -> Plan:
    options = {"warm_up_s": given.warm_up, "events": given.events, "connections": given.connections}
    if given.p99 is not None:  # an answer may take as long at the end, too
        wanted_s = given.p99 / 1000
        options |= {"behind_s": max(BEHIND_S, wanted_s), "answer_s": max(ANSWER_S, wanted_s)}
    if given.spike is None:
        return make_plan(target, [given.rate], given.seconds, **options)
    rates, spike = with_spike(given.rate, given.spike)
    return make_plan(target, rates, given.seconds, spike=spike, **options)


def _show(plan: Plan, result: Result, found: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(msgspec.to_builtins(result) | {"findings": found}).decode("utf-8"))
        return
    console = Console()
    pairs(console, summary(plan, result))
    if found:
        console.print()
        rows = [(each.what, each.wanted, each.measured, "yes" if each.is_reached else "NO") for each in found]
        table(console, [("", False), ("wanted", False), ("measured", False), ("reached", False)], rows)


def _say(text: str) -> None:
    print(f"foldlog: {text}", file=sys.stderr)
