"""What commands have in common on a terminal: tables, lines, progress.

Text from outside is printed as text, never as markup or control characters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

PATIENCE_S = 1.0


def plain(value: object) -> Text:
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return Text("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text))


def table(console: Console, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[object]]) -> None:
    """`columns` are names, and whether they hold numbers."""
    shown = Table(box=None, pad_edge=False)
    for name, number in columns:
        shown.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*[plain(value) for value in row])
    console.print(shown)


def line(console: Console, text: str) -> None:
    console.print(plain(text), soft_wrap=True)


def pairs(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """What, and how much."""
    table(console, [("", False), ("", False)], list(rows))


@contextmanager
def steps(console: Console, doing: str = "checking") -> Iterator[Callable[[str], None]]:
    """Show which step of long work is being done; silent where nobody looks."""
    if not console.is_terminal:
        yield lambda _step: None
        return
    with console.status("starting") as shown:
        yield lambda step: shown.update(f"{doing} {step}")


@contextmanager
def patience(console: Console, text: str) -> Iterator[Callable[[], None]]:
    """Say what takes so long, once it has taken a second; silent where nobody looks."""
    began = time.monotonic()
    shown = console.status(text)

    def progress() -> None:
        if console.is_terminal and time.monotonic() - began > PATIENCE_S:
            shown.start()

    try:
        yield progress
    finally:
        shown.stop()


@contextmanager
def bytes_done(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar over the bytes of a file; silent where nobody looks."""
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
