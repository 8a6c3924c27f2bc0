"""`foldlog tail`: the events of all writers, as they arrive."""

from __future__ import annotations

import argparse

from rich.console import Console

from foldlog import tail
from foldlog.preflight import require_data_dir
from foldlog.terminal import patience
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS
from shared.log import Log
from shared.settings import Settings


def run(given: argparse.Namespace, _settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    wanted = tail.Wanted(frozenset(given.event), frozenset(site.lower() for site in given.site))
    follower = tail.Follower(require_data_dir(data), wanted)
    printer = tail.Printer(as_written=given.json)
    with patience(Console(stderr=True), "looking back through the log; Ctrl-C ends it") as progress:
        last = follower.last(given.lines, progress)
    printer.write(last, follower.left_out)
    while given.follow:
        tail.wait_for_more()
        printer.write(tail.received_order(follower.look()), follower.left_out)
    return SUCCESS
