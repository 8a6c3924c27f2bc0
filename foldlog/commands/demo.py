"""`foldlog demo`: a throw-away Foldlog with made-up traffic."""

from __future__ import annotations

import time
from pathlib import Path

from foldlog.commands import Invocation
from foldlog.demo.run import Plan, run_demo


def run(call: Invocation) -> int:
    given = call.options
    keep = Path(given.keep) if given.keep else None
    return run_demo(Plan(given.days, given.seed, given.port, keep, time.monotonic()))
