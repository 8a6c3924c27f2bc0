"""`foldlog bench`: load on a server of this host, and what it counted."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from foldlog.load import EVENT_NAME
from foldlog.load import run as load_run
from foldlog.terminal import pairs
from shared.disk.layout import DataDirectory
from shared.exit_codes import PROBLEMS, SUCCESS
from shared.log import Log
from shared.settings import Settings


def run(given: argparse.Namespace, settings: Settings, _data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    key = Path(given.key_file).read_text("utf-8").strip() if given.key_file else None
    target = load_run.make_target(given.url, key, given.origin, settings)
    options = {"warm_up_s": given.warm_up, "events": given.events, "connections": given.connections}
    plan = load_run.make_plan(target, [given.rate], given.seconds, **options)
    count = int(given.rate * (given.seconds + given.warm_up) * given.events)
    writes = f"writes about {count:,} events named {EVENT_NAME} to {target.url}"
    print(f"foldlog: {writes}; they are counted there, and nothing removes them", file=sys.stderr)
    result = load_run.run(target, plan)
    if given.json:
        print(msgspec.json.encode(result).decode("utf-8"))
    else:
        pairs(Console(), load_run.summary(plan, result))
    return PROBLEMS if result.is_lossy else SUCCESS
