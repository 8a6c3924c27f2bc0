"""What commands share on a terminal: tables, lines, progress.

Text from outside is printed as text, never as markup or control characters. Commands
draw on a Console of this module and on no other one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import rich.console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from foldlog.guarded_output import harmless, unguarded
from shared.control_chars import printable

SILENT_S = 1.0


class Console(rich.console.Console):
    """Standard output, or standard error, with colours and progress on a terminal. What
    is drawn has its control characters escaped.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        # Only this console may move the terminal.
        super().__init__(file=unguarded(sys.stderr if stderr else sys.stdout), soft_wrap=soft_wrap, markup=False)

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless(text), style, control)


def plain(value: object) -> Text:
    """A value without markup: None is empty, integers are grouped by thousands."""
    if value is None:
        return Text("")
    return Text(printable(f"{value:,}" if isinstance(value, int) else str(value)))


def table(console: Console, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[object]]) -> None:
    """`columns` are names, and whether they contain numbers."""
    shown = Table(box=None, pad_edge=False)
    for name, is_number in columns:
        shown.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*[plain(value) for value in row])
    console.print(shown)


def line(console: Console, text: str) -> None:
    console.print(plain(text), soft_wrap=True)


def pairs(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Names and values, without a header."""
    table(console, [("", False), ("", False)], list(rows))


@contextmanager
def steps(console: Console, verb: str) -> Iterator[Callable[[str], None]]:
    """Show which step of long work runs. Silent where the output is not a terminal."""
    if not console.is_terminal:
        yield lambda _step: None
        return
    with console.status("starting") as shown:
        yield lambda step: shown.update(plain(f"{verb} {step}"))


@contextmanager
def after_a_second(console: Console, text: str) -> Iterator[Callable[[], None]]:
    """Show `text` once the work has taken a second. Silent where the output is not a
    terminal.
    """
    began = time.monotonic()
    shown = console.status(text)

    def progress() -> None:
        if console.is_terminal and time.monotonic() - began > SILENT_S:
            shown.start()

    try:
        yield progress
    finally:
        shown.stop()


@contextmanager
def bytes_done(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar over the bytes of a file. Silent where the output is not a
    terminal.
    """
    with Progress(
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
