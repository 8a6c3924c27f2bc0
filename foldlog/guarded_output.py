"""What any command writes: no character from outside moves the terminal.

While a command runs, whatever reaches standard output and standard error has its
control characters escaped, be it a message, a format or a traceback. Two go around:
colours and progress, which terminal.py draws, and a format for programs that goes to a
file or a pipe (`program_output`).
"""

from __future__ import annotations

import codecs
import io
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, TextIO, cast

from shared.control_chars import escape_controls, printable

# Bytes of a file name that were not UTF-8, which no stream takes.
_SURROGATES = re.compile("[\ud800-\udfff]")


def harmless(text: str) -> str:
    """Text of several lines with control characters escaped."""
    return _SURROGATES.sub(lambda found: printable(found[0]), escape_controls(text, keep="\n"))


class GuardedText:
    """A text stream that escapes what is written to `behind`; `buffer` takes UTF-8."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind
        self.buffer = cast(BinaryIO, _GuardedBytes(self))

    def write(self, text: str) -> int:
        shown = harmless(text.replace("\r\n", "\n"))
        try:
            self.behind.write(shown)
        except UnicodeEncodeError:  # a locale without UTF-8
            encoding = self.behind.encoding
            self.behind.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


class _GuardedBytes(io.BufferedIOBase):
    """The bytes of a GuardedText."""

    def __init__(self, text: GuardedText) -> None:
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        self._text.write(self._decoder.decode(bytes(content)))
        return len(content)

    def flush(self) -> None:
        self._text.flush()

    def fileno(self) -> int:
        return int(self._text.fileno())

    def isatty(self) -> bool:
        return bool(self._text.isatty())


@contextmanager
def guarded_output() -> Iterator[None]:
    """Guard both streams. A traceback of what ends the process is guarded after this,
    too.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)
    sys.excepthook = _print_traceback
    threading.excepthook = lambda given: _print_traceback(
        given.exc_type, given.exc_value or given.exc_type(), given.exc_traceback
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def unguarded(stream: TextIO) -> TextIO:
    """The stream behind the guard, for a writer that escapes by itself."""
    return cast(TextIO, getattr(stream, "behind", stream))


def program_output() -> BinaryIO:
    """Standard output for a format of programs: bytes as they are, unless they go to a
    terminal.
    """
    return sys.stdout.buffer if sys.stdout.isatty() else unguarded(sys.stdout).buffer


def _guarded(stream: TextIO) -> TextIO:
    # What the encoding of a locale has no character for is escaped, by whatever writes.
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    # Without a descriptor 1 or 2 there is no stream.
    return cast(TextIO, GuardedText(stream)) if stream is not None else stream


def _print_traceback(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    if sys.stderr is not None:
        text = "".join(traceback.format_exception(kind, error, where))
        unguarded(sys.stderr).write(harmless(text))
