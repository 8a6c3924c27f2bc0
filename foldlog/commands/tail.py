"""`foldlog tail`: the events of all writers as they arrive."""

from __future__ import annotations

from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.tail.follower import Follower, TailFilter, in_order_of_arrival
from foldlog.tail.printer import Printer, wait_for_more
from foldlog.terminal import Console, after_a_second
from shared.exit_codes import SUCCESS


def run(call: Invocation) -> int:
    given = call.options
    wanted = TailFilter(frozenset(given.event), frozenset(site.lower() for site in given.site))
    follower = Follower(require_data_dir(call.data), wanted)
    printer = Printer(raw=given.json)
    with after_a_second(Console(stderr=True), "searching the log for earlier events; Ctrl-C ends it") as progress:
        last = follower.last(given.lines, progress)
    printer.write(last, follower.damaged)
    while given.follow:
        wait_for_more()
        printer.write(in_order_of_arrival(follower.poll()), follower.damaged)
    return SUCCESS
