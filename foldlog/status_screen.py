"""`foldlog status` on one screen: whether there are problems and what to type, then the
numbers.

Pure: from the status to lines. On a terminal the lines fit its height, whatever the
problems are; in a pipe nothing is cut.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from foldlog.processes import Running
from foldlog.quantities import ago, counted, size, span
from shared.settings import Settings
from shared.status import CappedDay, DayTotal, LastRetention, Status
from shared.stores.condition import StoreStatus

LISTED_MAX = 3

Row = tuple[str, str]


class Problem(NamedTuple):
    """WRONG: events are lost, rejected or not counted. WARNING: Foldlog works, but not
    as it should.
    """

    level: Literal["WRONG", "WARNING"]
    text: str


def problems(status: Status, running: Running, settings: Settings) -> list[Problem]:
    """All problems, the worst first."""
    wrong = [
        *_balance(status),
        *_disk(status),
        *_processes(status, running, settings),
        *_segments(status),
        *_set_aside(status),
    ]
    warnings = [*_retention(status), *status.warnings]
    return [Problem("WRONG", text) for text in wrong] + [Problem("WARNING", text) for text in warnings]


def _balance(status: Status) -> Iterable[str]:
    difference = status.balance.difference
    if difference:
        kind = "missing" if difference > 0 else "too many"
        yield f"{counted(abs(difference), 'event')} {kind}: `foldlog verify` finds where"


def _disk(status: Status) -> Iterable[str]:
    disk = status.disk
    if disk.free_bytes < disk.reserve_bytes:
        yield (
            f"events are rejected: {size(disk.free_bytes)} free, less than FOLDLOG_DISK_RESERVE "
            f"({size(disk.reserve_bytes)}). Make room, or lower the reserve; no restart is needed"
        )


def _processes(status: Status, running: Running, settings: Settings) -> Iterable[str]:
    lag_s = status.lag_s or 0.0
    is_late = lag_s > settings.fold_late_after_s
    if running.is_nothing:
        last = f" (last fold {ago(lag_s)})" if is_late else ""
        yield f"no process of Foldlog is running here{last}: start `foldlog serve`"
        return
    if running.workers == {}:
        yield "no worker is running; events are refused. Check the output of `foldlog serve`"
    if silent := running.unresponsive:
        who = f"worker {silent[0]} does" if len(silent) == 1 else f"workers {_some(silent)} do"
        yield f"{who} not respond. `foldlog serve` restarts a worker within {span(settings.worker_timeout)}"
    if is_late:
        yield (
            f"last fold {ago(lag_s)}, due every {span(settings.fold_interval)}: "
            "check that the compactor is running, and its log"
        )


def _segments(status: Status) -> Iterable[str]:
    missing = status.segments.missing
    count = sum(len(sequences) for sequences in missing.values())
    if count:
        yield f"{counted(count, 'segment')} missing ({_missing(missing)}): `foldlog verify` shows what to do"


def _set_aside(status: Status) -> Iterable[str]:
    if not status.balance.set_aside:
        return
    entries = status.set_aside
    where = _some(sorted({entry.segment for entry in entries}))
    reason = f" ({entries[0].reason})" if entries else ""
    yield (
        f"{counted(status.balance.set_aside, 'event')} could not be folded, of {where}{reason}: they stay in the log; "
        "`foldlog compact --retry` tries again"
    )


def _missing(missing: Mapping[str, Sequence[int]]) -> str:
    shown = [f"{writer}: {_some(sequences)}" for writer, sequences in list(missing.items())[:LISTED_MAX]]
    more = len(missing) - LISTED_MAX
    return "; ".join(shown) + (f" and {more} more writers" if more > 0 else "")


def _some(items: Sequence[object]) -> str:
    more = len(items) - LISTED_MAX
    return ", ".join(map(str, items[:LISTED_MAX])) + (f" and {more:,} more" if more > 0 else "")


def _retention(status: Status) -> Iterable[str]:
    if skipped := status.last_retention.skipped:
        yield f"retention deletes nothing: {skipped}"


def verdict(status: Status, found: Sequence[Problem]) -> str:
    """The first line: OK, or how many problems there are."""
    wrong = sum(problem.level == "WRONG" for problem in found)
    if wrong:
        return f"PROBLEMS: {wrong}."
    last = f"last fold {ago(status.lag_s)}" if status.lag_s is not None else "nothing has been folded yet"
    return (
        f"OK with {counted(len(found), 'warning')}; {last}." if found else f"OK: every event is accounted for; {last}."
    )


def rows(status: Status, running: Running) -> list[Row]:
    """The numbers: each row a label, and a value that fits beside it on 80 columns."""
    balance, segments, disk, fold = status.balance, status.segments, status.disk, status.last_fold
    return [
        *[(f"on {each.day}", _day_total(each)) for each in status.recent],
        ("accepted", f"{balance.accepted:,}"),
        ("  counted", f"{balance.counted:,}"),
        ("  duplicates", f"{balance.duplicates:,} (conflicts: {balance.conflicts:,})"),
        ("  quarantined", f"{balance.quarantined:,}"),
        ("  erased", f"{balance.erased:,}{_pending(status.erasures_pending)}"),
        *([("  set aside", f"{balance.set_aside:,}")] if balance.set_aside else []),
        ("  not yet folded", f"{balance.not_yet_folded:,}"),
        ("  difference", f"{balance.difference:,}"),
        ("snapshot", f"generation {status.generation:,}, as of {status.as_of}"),
        ("last fold", f"{fold.segments:,} segments, {fold.lines:,} lines, {fold.seconds:g} s"),
        ("last retention", _last_retention(status.last_retention)),
        ("active segments", _active(segments.active)),
        ("sealed segments", f"{segments.sealed_unfolded:,} not folded; {segments.damaged:,} damaged so far"),
        *([("capped", _capped(status.capped))] if status.capped else []),
        *[("absorbed", f"{each.events:,} events of {each.instance}, as of {each.as_of}") for each in status.absorbed],
        *([("store", _store(status.store, status.generation))] if status.store else []),
        ("workers", _workers(running)),
        ("disk free", f"{size(disk.free_bytes)} (reserve {size(disk.reserve_bytes)})"),
        ("log, archive, counters", ", ".join(map(size, (disk.log_bytes, disk.archive_bytes, disk.counters_bytes)))),
    ]


def _day_total(total: DayTotal) -> str:
    visitors = "" if total.visitors is None else f", {counted(total.visitors, 'visitor')}"
    return f"{counted(total.events, 'event')}{visitors} (without bots)"


def _capped(days: Sequence[CappedDay]) -> str:
    """Which dimensions have too many values, on the last days that have such."""
    shown = [f"{each.day}: {', '.join((*each.capped, *each.uncounted))}" for each in days[:LISTED_MAX]]
    more = len(days) - LISTED_MAX
    return "; ".join(shown) + (f"; and {counted(more, 'more day')}" if more > 0 else "")


def _store(store: StoreStatus, newest: int) -> str:
    """What the store holds, and what keeps it from more."""
    if store.generation < newest:
        held = f"generation {store.generation:,} of {newest:,}" if store.generation else "nothing published yet"
        held += f", {span(store.lag_s)} behind"
    else:
        held = f"generation {store.generation:,}, the newest" if newest else "nothing published yet"
    notes = [
        *(["refused"] if store.refused else []),
        *([f"{counted(store.failures, 'attempt')} failed"] if store.failures and not store.refused else []),
        *([f"{counted(store.waiting_ids, 'id')} to be yielded"] if store.waiting_ids else []),
    ]
    return "; ".join([held, *notes])


def _pending(erasures: int) -> str:
    return f" ({counted(erasures, 'erasure')} pending, done by the next pass)" if erasures else ""


def _active(active: Mapping[str, int]) -> str:
    if len(active) <= LISTED_MAX:
        return ", ".join(f"{writer}: {size(count)}" for writer, count in active.items()) or "none"
    return f"{len(active)}, {size(sum(active.values()))} in all"


def _workers(running: Running) -> str:
    if running.workers is None:
        return "unknown: only the user that Foldlog runs as can query them"
    shown = f"{len(running.responsive)} responding" if running.responsive else "none"
    return shown + (f", under `foldlog serve` (process {running.serve})" if running.serve else "")


def _last_retention(run: LastRetention) -> str:
    if run.skipped:
        return f"skipped at {run.at}"
    counts = {"segments": run.segments, "archive days": run.archive_days, "counter days": run.counter_days}
    deleted = [f"{count:,} {noun} deleted" for noun, count in counts.items() if count]
    waiting = [kind for kind in run.on_hold if kind not in run.confirmed]
    on_hold = [f"on hold, to be confirmed: {', '.join(waiting)}"] if waiting else []
    confirmed = [f"confirmed, deleted by the next pass: {', '.join(run.confirmed)}"] if run.confirmed else []
    return f"{run.at}: {', '.join(deleted + on_hold + confirmed) or 'nothing was due'}"


def screen(status: Status, running: Running, settings: Settings, width: int, height: int | None) -> list[str]:
    """All lines. With a `height` they fit it and leave a line for the prompt; without
    one nothing is wrapped or cut.
    """
    found = problems(status, running, settings)
    table = rows(status, running)
    label_width = max(len(label) for label, _ in table) + 2
    numbers = [f"{label:{label_width}}{value}" for label, value in table]
    head = verdict(status, found)
    texts = [f"{problem.level}: {problem.text}" for problem in found]
    if height is None:
        return [head, *texts, "", *numbers]
    room = max(1, height - 1 - len(numbers) - 2)
    return [_cut(head, width), *fitted(texts, width, room), "", *[_cut(row, width) for row in numbers]]


def fitted(texts: Sequence[str], width: int, room: int) -> list[str]:
    """The texts in at most `room` lines: wrapped if all fit, else cut; if need be only
    the first ones and the number of the others.
    """
    wrapped = [
        line for text in texts for line in textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
    ]
    if len(wrapped) <= room:
        return wrapped
    if len(texts) <= room:
        return _share_lines(texts, width, room)
    more = len(texts) - room + 1
    return [_cut(text, width) for text in texts[: room - 1]] + [f"… and {more} more: foldlog status | cat"]


def _share_lines(texts: Sequence[str], width: int, room: int) -> list[str]:
    """A line for each text; the first ones get the lines that are left."""
    lines: list[str] = []
    for number, text in enumerate(texts):
        most = room - len(lines) - (len(texts) - number - 1)
        lines += textwrap.wrap(
            text, width, subsequent_indent="  ", max_lines=most, placeholder=" …", break_on_hyphens=False
        )
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
