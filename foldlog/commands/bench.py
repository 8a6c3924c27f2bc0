"""`foldlog bench`: puts load on a server of this host and compares what it counted."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from foldlog.commands import Invocation
from foldlog.load import EVENT_NAME
from foldlog.load.run import make_plan
from foldlog.load.run import run as run_load
from foldlog.load.summary import summary
from foldlog.load.target import make_target
from foldlog.terminal import pairs
from shared.exit_codes import PROBLEMS, SUCCESS


def run(call: Invocation) -> int:
    given = call.options
    key = Path(given.key_file).read_text("utf-8").strip() if given.key_file else None
    target = make_target(given.url, key, given.origin, call.settings)
    options = {"warm_up_s": given.warm_up, "events": given.events, "connections": given.connections}
    plan = make_plan(target, [given.rate], given.seconds, **options)
    count = int(given.rate * (given.seconds + given.warm_up) * given.events)
    warning = f"writes about {count:,} events named {EVENT_NAME} to {target.url}"
    print(f"foldlog: {warning}; the server counts them, and nothing removes them", file=sys.stderr)
    result = run_load(target, plan)
    if given.json:
        print(msgspec.json.encode(result).decode("utf-8"))
    else:
        pairs(Console(), summary(plan, result))
    return PROBLEMS if result.is_lossy else SUCCESS
