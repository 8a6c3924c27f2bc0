"""`foldlog erase`: erase one visitor for good."""

from __future__ import annotations

from collections.abc import Sequence

from compactor.erasure.footprint import VisitorFootprint
from compactor.erasure.rewrite import preview_erasure
from compactor.erasure.visitor_filter import VisitorFilter
from compactor.lock import CompactorBusy
from compactor.process import erase_now
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.quantities import counted
from foldlog.terminal import Console, plain
from shared.erasures import ErasureCompleted, ErasureStarted, create_request, progress_of
from shared.exit_codes import PROBLEMS, SUCCESS, TemporaryFailure
from shared.stores.address import is_postgres
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.retired import Retired, retired_holders

_NOT_ERASABLE = (
    "Not erased: events without a visitor id. They carry a hash made with a salt that is destroyed at midnight, so "
    "no one can "
    "find out any more which of them belong to one person. Counters contain no visitor ids; they are kept where the "
    "archive "
    "has expired."
)


def run(call: Invocation) -> int:
    require_data_dir(call.data)
    if call.options.dry_run:
        show_preview(
            Console(), preview_erasure(call.data, call.settings, VisitorFilter(call.options.visitor, call.options.site))
        )
        return SUCCESS
    request = create_request(call.data, call.options.visitor, call.options.site)
    try:
        erase_now(call.data, call.settings, call.log)
    except CompactorBusy as error:
        pending = (
            "The request is recorded, and the next pass carries it out: `foldlog status` shows whether it is pending"
        )
        raise TemporaryFailure(f"{error}. {pending}") from None
    started, completed = progress_of(call.data, request.request)
    if started is None or completed is None:
        raise TemporaryFailure("an active segment contains the visitor; the next pass after it is sealed erases them")
    show_erased(Console(), started, completed)
    if not is_postgres(call.settings.store):
        return SUCCESS
    return _end_in_store(Console(), call.settings.store, request.request)


def _end_in_store(console: Console, store: str, request: str) -> int:
    """Say what other hosts of the store still have."""
    try:
        retired = retired_holders(store, request)
    except (StoreUnavailable, StoreRefused) as error:
        console.print(plain(f"The other hosts learn of it with the next publish: {error}"))
        return SUCCESS
    show_retired(console, retired)
    return PROBLEMS if retired else SUCCESS


def show_preview(console: Console, found: VisitorFootprint) -> None:
    """What an erasure would remove, and what it would not."""
    sums = (found.events, len(found.days), found.lines, len(found.segments), sum(found.quarantine.values()))
    console.print(plain(f"would erase {_summary(*sums)}"))
    if found.unfolded:
        unfolded = counted(found.unfolded, "line")
        console.print(plain(f"not folded yet: {unfolded}, which would be folded first and erased as well"))
    _show_not_erased(console, found.other_sites, found.mentions, [path.name for path in found.unreadable])


def show_erased(console: Console, started: ErasureStarted, completed: ErasureCompleted) -> None:
    """What was erased, and what was not."""
    sums = (started.events, started.days, started.lines, started.segments, started.quarantined)
    console.print(plain(f"erased {_summary(*sums)}; generation {completed.generation:,}"))
    _show_not_erased(console, started.other_sites, started.mentions, started.unreadable)
    console.print("Backups and exports that were made before still contain the visitor.")


def show_retired(console: Console, retired: Sequence[Retired]) -> None:
    """Which retired instances still hold the visitor, and what to type."""
    for each in retired:
        console.print(
            plain(
                f"not erased: what instance {each.instance} ({each.host}) has published. It is retired, and no host "
                "erases there; answers over all hosts leave the visitor out. To have it erased, type "
                f"`foldlog store absorb {each.instance}`"
            )
        )


def _summary(events: int, days: int, lines: int, segments: int, quarantined: int) -> str:
    of_log = f"{counted(lines, 'line')} of {counted(segments, 'segment')}"
    return f"{counted(events, 'event')} on {counted(days, 'day')}, {of_log}, {counted(quarantined, 'quarantined line')}"


def _show_not_erased(console: Console, other_sites: int, mentions: int | None, unreadable: Sequence[str]) -> None:
    if other_sites:
        console.print(f"not erased because of --site: {counted(other_sites, 'event')} of the visitor on other sites")
    if mentions:
        events = counted(mentions, "event")
        console.print(f"not erased: {events} of other visitors with the same text in some field, a URL or a property")
    for name in unreadable:
        console.print(plain(f"not searched: {name} in quarantine/ or log/ cannot be read; inspect or delete it"))
    console.print(_NOT_ERASABLE)
