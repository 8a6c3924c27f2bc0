"""Which format a file has: that which understands most of its first lines."""

from __future__ import annotations

from collections.abc import Iterator

from foldlog.importers.block_parser import BlockParser, Shape
from foldlog.importers.exports.kinds import NAMES as EXPORTS
from foldlog.importers.formats import AUTO, FORMATS, NAMES, W3C_NAMES, LineFormat
from foldlog.importers.log_format import is_pattern, line_format
from foldlog.importers.prefixes import WRAPPINGS
from foldlog.importers.w3c import FIELDS
from shared.settings import SettingsError

# Lines that are looked at: first few, and where none of them is understood, more.
_SAMPLES = (50, 1000)


def candidates(name: str) -> tuple[LineFormat, ...]:
    """The formats that a name, or a pattern, allows; none for those that follow from
    the file. Raises SettingsError.
    """
    if is_pattern(name):
        return (line_format(name),)
    if name == AUTO:
        return tuple(FORMATS.values())
    if name in W3C_NAMES:
        return ()
    if name in FORMATS:
        return (FORMATS[name],)
    raise SettingsError(
        f"there is no format {name}: one of {', '.join((*NAMES, *EXPORTS))}, or a pattern as in nginx's log_format"
    )


def detect(parser: BlockParser, head: list[str], name: str) -> Shape | None:
    """The shape of the lines; None where no line is understood, or where the file says
    it itself (w3c.py).
    """
    allowed = candidates(name)
    if name in (AUTO, *W3C_NAMES) and any(each.startswith(FIELDS) for each in head):
        return None
    for size in _SAMPLES:
        sample = "\n".join(head[:size])
        found = _best(parser, sample, allowed)
        if found is not None or len(head) <= size:
            return found
    return None


def _best(parser: BlockParser, sample: str, allowed: tuple[LineFormat, ...]) -> Shape | None:
    """The first that understands every line, else that which understands most."""
    lines = sum(1 for each in sample.split("\n") if each and not each.startswith("#"))
    most, best = 0, None
    for shape in _shapes(sample, allowed):
        understood = parser.understood(sample, shape)
        if understood > most:
            most, best = understood, shape
        if most == lines:
            break
    return best


def _shapes(sample: str, allowed: tuple[LineFormat, ...]) -> Iterator[Shape]:
    has_json = sample.startswith("{") or "\n{" in sample
    wrappings = WRAPPINGS if has_json else WRAPPINGS[:2]
    return (Shape(format_, wrapping) for wrapping in wrappings for format_ in allowed)


def tried(name: str) -> str:
    """The formats that were tried, for a message."""
    if is_pattern(name):
        return "the pattern"
    return ", ".join((*FORMATS, *W3C_NAMES)) if name == AUTO else name
