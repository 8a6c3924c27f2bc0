"""`foldlog erase`: one visitor is removed for good."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from compactor.erasure.footprint import Found, Sought
from compactor.erasure.rewrite import look
from compactor.lock import CompactorBusy
from compactor.process import erase_now
from foldlog.preflight import require_data_dir
from foldlog.quantities import counted
from foldlog.terminal import plain
from shared.disk.layout import DataDirectory
from shared.erasures import ErasureCompleted, ErasureStarted, create_request, progress_of
from shared.exit_codes import DONE, TemporaryFailure
from shared.log import Log
from shared.settings import Settings

_NOBODYS = (
    "What nobody can erase: events that came without a visitor id carry a hash made with a salt that is destroyed at midnight. "
    "Nobody can tell any more which of them were one person's. Counters name nobody, and stay where the archive is gone."
)


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    if given.dry_run:
        found = look(require_data_dir(data), settings, Sought(given.visitor, given.site))
        would_erase(Console(), found)
        return DONE
    asked = create_request(require_data_dir(data), given.visitor, given.site)
    try:
        erase_now(data, settings, log)
    except CompactorBusy as error:
        pending = "It has been asked to erase, and will: `foldlog status` shows what is pending"
        raise TemporaryFailure(f"{error}. {pending}") from None
    begun, done = progress_of(data, asked.request)
    if begun is None or done is None:
        raise TemporaryFailure(
            "a segment that is still open holds the visitor; the next pass after it is sealed erases"
        )
    erased(Console(), begun, done)
    return DONE


def would_erase(console: Console, found: Found) -> None:
    """What an erasure would take."""
    sums = (found.events, len(found.days), found.lines, len(found.segments), sum(found.quarantine.values()))
    console.print(plain(f"would erase {_erasure(*sums)}"))
    if found.unfolded:
        console.print(plain(f"not folded yet: {counted(found.unfolded, 'line')}, folded first and erased as well"))
    _not_erased(console, found.other_sites, found.mentions, [path.name for path in found.unreadable])


def erased(console: Console, begun: ErasureStarted, done: ErasureCompleted) -> None:
    """What was erased, and what was not."""
    sums = (begun.events, begun.days, begun.lines, begun.segments, begun.quarantined)
    console.print(plain(f"erased {_erasure(*sums)}; generation {done.generation:,}"))
    _not_erased(console, begun.other_sites, begun.mentions, begun.unreadable)
    console.print("Backups and exports that were made before hold the visitor still.")


def _erasure(events: int, days: int, lines: int, segments: int, quarantined: int) -> str:
    of_log = f"{counted(lines, 'line')} of {counted(segments, 'segment')}"
    return f"{counted(events, 'event')} on {counted(days, 'day')}, {of_log}, {counted(quarantined, 'quarantined line')}"


def _not_erased(console: Console, other_sites: int, mentions: int | None, unreadable: Sequence[str]) -> None:
    if other_sites:
        console.print(f"on other sites, left because of --site: {counted(other_sites, 'event')} of the visitor")
    if mentions:
        console.print(
            f"left: {counted(mentions, 'event')} of others with the same text in some field, a URL or a property"
        )
    for name in unreadable:
        console.print(plain(f"{name} in quarantine/ or log/ cannot be read: look at it, or delete it"))
    console.print(_NOBODYS)
