"""What came of the lines of an import: events, other requests, and lines that are none,
by reason, with the first of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from foldlog.importers.addresses import masked
from foldlog.importers.exports.sums import Sums
from foldlog.importers.exports.totals import Totals
from shared.control_chars import printable

EVENT = 0
NOT_UNDERSTOOD = 1
BEFORE_1970 = 2
BEYOND_TOMORROW = 3
OTHER_REQUEST = 4
OTHER_HOST = 5
COMMENT = 8
OWN_TRAFFIC = 9
TOO_LONG = 10
REASONS = (
    "events",
    "not understood",
    "dated before 1970",
    "dated beyond tomorrow",
    "other requests",
    "of another host",
    "not successful",
    "not pages",
    "comments",
    "of FOLDLOG_EXCLUDE_NETWORKS",
    "longer than 1 MiB",
)
# Of exports of other tools, besides.
NOT_UTF8, BOT, NO_VISITOR, OTHER_KIND, OTHER_WEBSITE = range(len(REASONS), len(REASONS) + 5)
_REASONS_OF_EXPORTS = (
    "not UTF-8",
    "bots",
    "without a visitor",
    "neither page views nor events",
    "of another website in the same export",
)
# They are faults of the file or of the format; the others were not asked for.
REJECTED = (NOT_UNDERSTOOD, BEFORE_1970, BEYOND_TOMORROW, TOO_LONG, NOT_UTF8)
LEFT_OUT = (OTHER_HOST, 6, 7, OWN_TRAFFIC, BOT, NO_VISITOR, OTHER_KIND, OTHER_WEBSITE)
_SHOWN = 160


@dataclass
class Reason:
    """How many lines, and the first of them: its file, its number and its beginning."""

    lines: int = 0
    file: str = ""
    first: int = 0
    line: str = ""


@dataclass
class Imported:
    """Counts of one import. `unfinished` last lines wait until they are whole."""

    lines: int = 0
    events: int = 0
    unfinished: int = 0
    reasons: dict[int, Reason] = field(default_factory=dict)
    # Files of which no line is understood, although they have some.
    strange: list[str] = field(default_factory=list)
    # Of each export of another tool, what it says beside what was imported; of those
    # that have sums alone, these.
    totals: list[Totals] = field(default_factory=list)
    sums: list[Sums] = field(default_factory=list)

    def add(self, why: int, lines: int, file: str, first: int, line: str) -> None:
        found = self.reasons.setdefault(why, Reason())
        if not found.lines:
            found.file, found.first, found.line = file, first, shown(line)
        found.lines += lines

    def count(self, *reasons: int) -> int:
        return sum(self.reasons[each].lines for each in reasons if each in self.reasons)


def shown(line: str) -> str:
    """The beginning of a line for people, without addresses and control characters."""
    text = printable(masked(line[: 4 * _SHOWN].rstrip("\r")))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def summary(done: Imported, *, dry_run: bool = False) -> list[str]:
    """`9 lines: 6 events appended, 1 other requests, 2 rejected`, then a line for each
    reason.
    """
    verb = "would be appended" if dry_run else "appended"
    head = f"{done.lines} lines: {done.events} events {verb}, "
    if not (done.totals or done.sums) or done.count(OTHER_REQUEST):
        head += f"{done.count(OTHER_REQUEST)} other requests, "
    head += f"{done.count(*REJECTED)} rejected"
    if left_out := done.count(*LEFT_OUT):
        head += f", {left_out} left out"
    if done.unfinished:
        head += f", {done.unfinished} unfinished (waits for its end)"
    reasons = [_reason(why, done.reasons[why]) for why in (*REJECTED, *LEFT_OUT) if why in done.reasons]
    totals = [line for each in done.totals for line in each.lines(dry_run=dry_run)]
    return [head, *reasons, *totals, *(line for each in done.sums for line in each.lines())]


def _reason(why: int, reason: Reason) -> str:
    name = (*REASONS, *_REASONS_OF_EXPORTS)[why]
    return f"  {reason.lines} {name}, first {reason.file} line {reason.first}: {reason.line}"
