"""What came of the lines of an import: events, other requests, and lines that are none,
by reason, with the first of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from foldlog.importers.addresses import masked
from shared.control_chars import printable

EVENT = 0
NOT_UNDERSTOOD = 1
OTHER_REQUEST = 4
COMMENT = 8
TOO_LONG = 9
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
    "longer than 1 MiB",
)
# They are faults of the log or of the format; the others were not asked for.
REJECTED = (NOT_UNDERSTOOD, 2, 3, TOO_LONG)
LEFT_OUT = (5, 6, 7)
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
    head = f"{done.lines} lines: {done.events} events {verb}, {done.count(OTHER_REQUEST)} other requests, "
    head += f"{done.count(*REJECTED)} rejected"
    if left_out := done.count(*LEFT_OUT):
        head += f", {left_out} left out"
    if done.unfinished:
        head += f", {done.unfinished} unfinished (waits for its end)"
    return [head, *(_reason(why, done.reasons[why]) for why in (*REJECTED, *LEFT_OUT) if why in done.reasons)]


def _reason(why: int, reason: Reason) -> str:
    return f"  {reason.lines} {REASONS[why]}, first {reason.file} line {reason.first}: {reason.line}"
