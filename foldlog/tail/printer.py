"""The events of `foldlog tail` on standard output, as text or as they were written.

Characters that a terminal acts on are printed as escapes.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable

import msgspec

from foldlog.guarded_output import program_output
from shared.control_chars import printable

POLL_S = 0.2


class Printer:
    """Writes lines to standard output and flushes after each batch, so that a pipe gets
    them at once. `raw`: as they were written.
    """

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._bytes = program_output()
        self._damaged = 0
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # whatever the locale can show

    def write(self, lines: Iterable[bytes], damaged: int) -> None:
        """`damaged`: how many pieces were skipped so far; reported when it grows."""
        for line in lines:
            if not self._raw:
                sys.stdout.write(readable(line) + "\n")
            else:
                self._bytes.write(line)
        sys.stdout.flush()
        if damaged > self._damaged:
            self._damaged = damaged
            text = f"skipped {damaged} damaged pieces of the log; `foldlog verify` shows where"
            print(f"foldlog: {text}", file=sys.stderr, flush=True)


def wait_for_more() -> None:
    """Wait until the next poll is due. Raises BrokenPipeError when the reader of the
    output is gone, although nothing is written.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(POLL_S * 1000):
        raise BrokenPipeError


def readable(line: bytes) -> str:
    """One line as text: time, name, page or site, visitor, value, properties."""
    try:
        event = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return printable(line.decode("utf-8", "backslashreplace").rstrip("\n"))
    fields = [
        event.get("time", ""),
        event.get("name", ""),
        event.get("url") or event.get("site", ""),
        f"visitor={event['visitor']}" if "visitor" in event else "",
    ]
    if "value" in event:
        fields.append(f"value={event['value']:g}")
    fields += [f"{name}={value}" for name, value in event.get("props", {}).items()]
    # JSON had control characters as escapes; decoding has turned them back.
    return "  ".join(printable(str(field)) for field in fields if field)
