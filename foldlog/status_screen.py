"""`foldlog status` on one screen: first whether all is well, and if not what to type;
then the numbers.

Pure: from what was found to lines. On a terminal they fit its height, whatever there is
to say; in a pipe nothing is cut.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from foldlog.processes import Running
from shared.settings import Settings

LATE_INTERVALS = 3  # as GET /readyz
SHOWN = 3
_ALL = "every event is accounted for"

Found = Mapping[str, Any]
Row = tuple[str, str]


class Problem(NamedTuple):
    """Something to see to. Wrong: events are lost, refused or not counted. Warning: it
    works, though not as it was meant.
    """

    level: Literal["WRONG", "WARNING"]
    text: str


def problems(found: Found, running: Running, settings: Settings) -> list[Problem]:
    """What is not as it should be, the worst first."""
    wrong = [*_balance(found), *_disk(found), *_processes(found, running, settings), *_segments(found)]
    warnings = [*_retention(found), *found["warnings"]]
    return [Problem("WRONG", text) for text in wrong] + [Problem("WARNING", text) for text in warnings]


def _balance(found: Found) -> Iterable[str]:
    difference = found["balance"]["difference"]
    if difference:
        yield f"{counted(abs(difference), 'event')} {'missing' if difference > 0 else 'too many'}: `foldlog verify` says where"


def _disk(found: Found) -> Iterable[str]:
    disk = found["disk"]
    if disk["free_bytes"] < disk["reserve_bytes"]:
        yield (
            f"events are refused: {size(disk['free_bytes'])} are free, less than FOLDLOG_DISK_RESERVE "
            f"({size(disk['reserve_bytes'])}). Make room, or lower it; it goes on by itself"
        )


def _processes(found: Found, running: Running, settings: Settings) -> Iterable[str]:
    lag_s = found["lag_s"]
    is_late = lag_s is not None and lag_s > LATE_INTERVALS * settings.fold_interval
    if running.is_nothing:
        yield f"nothing runs here{f', and the last fold was {ago(lag_s)}' if is_late else ''}: start `foldlog serve`"
        return
    if running.workers == {}:
        yield "no worker runs, so no event can be taken: what does `foldlog serve` say?"
    if silent := running.silent:
        who = f"worker {silent[0]} does" if len(silent) == 1 else f"workers {_some(silent)} do"
        yield f"{who} not answer: stuck, or killed. Within {span(settings.worker_timeout)} `foldlog serve` starts another"
    if is_late:
        yield (
            f"the last fold was {ago(lag_s)}, and one is due every {span(settings.fold_interval)}: "
            "is the compactor running, and what does it say?"
        )


def _segments(found: Found) -> Iterable[str]:
    missing = found["segments"]["missing"]
    count = sum(len(sequences) for sequences in missing.values())
    if count:
        yield f"{counted(count, 'segment')} missing ({_missing(missing)}): `foldlog verify` says what to do"


def _missing(missing: Mapping[str, Sequence[int]]) -> str:
    shown = [f"{writer}: {_some(sequences)}" for writer, sequences in list(missing.items())[:SHOWN]]
    more = len(missing) - SHOWN
    return "; ".join(shown) + (f" and {more} more writers" if more > 0 else "")


def _some(sequences: Sequence[object]) -> str:
    more = len(sequences) - SHOWN
    return ", ".join(map(str, sequences[:SHOWN])) + (f" and {more:,} more" if more > 0 else "")


def _retention(found: Found) -> Iterable[str]:
    if skipped := found["last_retention"]["skipped"]:
        yield f"retention deletes nothing: {skipped}"


def verdict(found: Found, things: Sequence[Problem]) -> str:
    """Whether all is well, in one line."""
    wrong = sum(problem.level == "WRONG" for problem in things)
    if wrong:
        return f"NOT all is well: {counted(wrong, 'thing')} to see to."
    last = f"the last fold was {ago(found['lag_s'])}" if found["lag_s"] is not None else "nothing is folded yet"
    return (
        f"All is well but for {counted(len(things), 'warning')}; {last}." if things else f"All is well: {_ALL}, {last}."
    )


def rows(found: Found, running: Running) -> list[Row]:
    """The numbers, each row a label and a value that fits beside it on 80 columns."""
    balance, segments, disk, fold = found["balance"], found["segments"], found["disk"], found["last_fold"]
    return [
        ("accepted", f"{balance['accepted']:,}"),
        ("  counted", f"{balance['counted']:,}"),
        ("  duplicates", f"{balance['duplicates']:,} (with another content: {balance['conflicts']:,})"),
        ("  quarantined", f"{balance['quarantined']:,}"),
        ("  erased", f"{balance['erased']:,}{_pending(found['erasures_pending'])}"),
        ("  not yet folded", f"{balance['not_yet_folded']:,}"),
        ("  difference", f"{balance['difference']:,}"),
        ("snapshot", f"generation {found['generation']:,}, as of {found['as_of']}"),
        ("last fold", f"{fold['segments']:,} segments, {fold['lines']:,} lines, {fold['seconds']:g} s"),
        ("last retention", _last_retention(found["last_retention"])),
        ("active segments", _active(segments["active"])),
        (
            "sealed segments",
            f"{segments['sealed_unfolded']:,} not folded; {segments['damaged']:,} damaged since the beginning",
        ),
        ("workers", _workers(running)),
        ("disk free", f"{size(disk['free_bytes'])} (reserve {size(disk['reserve_bytes'])})"),
        ("log, archive, counters", ", ".join(size(disk[f"{kind}_bytes"]) for kind in ("log", "archive", "counters"))),
    ]


def _pending(erasures: int) -> str:
    return f" ({counted(erasures, 'erasure')} asked for, done by the next pass)" if erasures else ""


def _active(active: Mapping[str, int]) -> str:
    if len(active) <= SHOWN:
        return ", ".join(f"{writer}: {size(count)}" for writer, count in active.items()) or "none"
    return f"{len(active)}, {size(sum(active.values()))} in all"


def _workers(running: Running) -> str:
    if running.workers is None:
        return "only the user that runs Foldlog can ask them"
    names = running.answering
    shown = f"{len(names)} {'answers' if len(names) == 1 else 'answer'}" if names else "none"
    return shown + (f", under `foldlog serve` (process {running.serve})" if running.serve else "")


def _last_retention(run: Found) -> str:
    if run["skipped"]:
        return f"skipped at {run['at']}"
    counts = {"segments": run["segments"], "archive days": run["archive_days"], "counter days": run["counter_days"]}
    gone = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    held = f"waits for you: {', '.join(run['held'])}" if run["held"] else ""
    return f"{run['at']}: {', '.join(filter(None, (gone, held))) or 'nothing was due'}"


def screen(found: Found, running: Running, settings: Settings, width: int, height: int | None) -> list[str]:
    """All lines. With a `height` they fit it, and leave a line for the prompt; without
    one nothing is wrapped or cut.
    """
    things = problems(found, running, settings)
    table = rows(found, running)
    label = max(len(name) for name, _ in table) + 2
    numbers = [f"{name:{label}}{value}" for name, value in table]
    head = verdict(found, things)
    said = [f"{problem.level}: {problem.text}" for problem in things]
    if height is None:
        return [head, *said, "", *numbers]
    room = max(1, height - 1 - len(numbers) - 2)
    return [_cut(head, width), *fitted(said, width, room), "", *[_cut(row, width) for row in numbers]]


def fitted(texts: Sequence[str], width: int, room: int) -> list[str]:
    """Texts in at most `room` lines: wrapped if they all fit, else cut, and if need be
    only the first, and how many more.
    """
    wrapped = [
        line for text in texts for line in textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
    ]
    if len(wrapped) <= room:
        return wrapped
    if len(texts) <= room:
        return _shared_out(texts, width, room)
    more = len(texts) - room + 1
    return [_cut(text, width) for text in texts[: room - 1]] + [f"… and {more} more: foldlog status | cat"]


def _shared_out(texts: Sequence[str], width: int, room: int) -> list[str]:
    """A line for each, and what is left of the room to the first ones."""
    lines: list[str] = []
    for number, text in enumerate(texts):
        most = room - len(lines) - (len(texts) - number - 1)
        lines += textwrap.wrap(
            text, width, subsequent_indent="  ", max_lines=most, placeholder=" …", break_on_hyphens=False
        )
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def ago(seconds: float) -> str:
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `2 days`: as exact as a person wants it."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """`512.0 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
