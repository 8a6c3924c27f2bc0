"""How commands show things on a terminal. Text from outside is printed as text, never as markup or control characters."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from compactor.backup import Backup
from compactor.compress import Compressed
from compactor.erasure.footprint import Found
from compactor.repair.rebuild import DayChange
from compactor.repair.verify import Verified
from compactor.retention.plan import KindPlan, RetentionPlan
from foldlog.doctor.host_findings import Finding
from foldlog.processes import Running
from foldlog.status_screen import counted, screen, size
from ingest.http.auth import Token
from shared.erasures import Begun, Done
from shared.settings import Settings

PATIENCE_S = 1.0

_SECRET = {"admin_token", "ingest_keys"}
_LEVELS = {"ok": "", "warning": "yellow", "wrong": "bold red", "unknown": "dim"}
_FOUND_AT = 25
_STYLES = {"NOT all": "bold red", "All": "bold green", "WRONG": "red", "WARNING": "yellow"}


def _plain(value: object) -> Text:
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return Text("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text))


def _table(console: Console, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[object]]) -> None:
    """`columns` are names, and whether they hold numbers."""
    shown = Table(box=None, pad_edge=False)
    for name, number in columns:
        shown.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*[_plain(value) for value in row])
    console.print(shown)


def report(console: Console, made: Mapping[str, Any]) -> None:
    """A report as a table, its total below."""
    columns = [(name, False) for name, given in (("time", made["interval"] != "none"), ("value", made["by"])) if given]
    names = [name for name, _ in columns]
    rows = [[_value(row, name) for name in names] + [row["events"], row["visitors"]] for row in made["rows"]]
    total = made["total"]
    if names:
        label = ["total", *[""] * (len(names) - 1)]
        rows.append([*label, total["events"], total["visitors"]])
    _table(console, [*columns, ("events", True), ("visitors", True)], rows)
    as_of = f"as of {made['as_of']}" if made["generation"] else "nothing has been folded yet"
    console.print(_plain(f"{made['from']} to {made['to']}, {as_of}"), style="dim", soft_wrap=True)
    if "reason" in made:
        console.print(_plain(f"Left empty: {made['reason']}"))


def _value(row: Mapping[str, Any], name: str) -> object:
    value = row[name]
    return "(none)" if name == "value" and value is None else value


def status(console: Console, found: Mapping[str, Any], running: Running, in_force: Settings) -> None:
    """The status on one screen, if there is a screen."""
    for line in screen(found, running, in_force, console.width, console.height if console.is_terminal else None):
        style = next((style for beginning, style in _STYLES.items() if line.startswith(beginning)), "")
        console.print(_plain(line), style=style, soft_wrap=True)


def findings(console: Console, found: Sequence[Finding]) -> None:
    """A line for each check, below it what to do; at the end how many are not well."""
    width = max(60, console.width) if console.is_terminal else 1 << 20
    for finding in found:
        level = "WRONG" if finding.level == "wrong" else finding.level
        texts = [finding.found, *([f"to do: {finding.do}"] if finding.do else [])]
        lines = [line for text in texts for line in textwrap.wrap(text, width - _FOUND_AT, break_on_hyphens=False)]
        for number, line in enumerate(lines):
            head = f"{level:8} {finding.check:15} " if number == 0 else " " * _FOUND_AT
            console.print(_plain(head + line), style=_LEVELS[finding.level] if number == 0 else "", soft_wrap=True)
    wrong, warnings = (sum(finding.level == level for finding in found) for level in ("wrong", "warning"))
    said = f"{wrong} wrong, {warnings} to look at" if wrong or warnings else "nothing wrong"
    console.print(_plain(said), style="bold", soft_wrap=True)


def pairs(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """What, and how much."""
    _table(console, [("", False), ("", False)], list(rows))


def verified(console: Console, done: Verified) -> None:
    """What was checked, then each finding with what to do."""
    console.print(
        _plain(f"checked {done.segments:,} segments, {done.lines:,} lines, {done.parts:,} parts, {done.events:,} events")
    )
    for finding in done.findings:
        console.print(_plain(f"WRONG {finding.where}: {finding.what}. To do: {finding.do}."))
    if not done.findings:
        console.print("nothing wrong")


def compressed(console: Console, done: Compressed) -> None:
    """What was done in one line, and one for each segment that was left as it is."""
    sizes = f": {size(done.bytes_before)} became {size(done.bytes_after)}" if done.segments else ""
    console.print(_plain(f"compressed {done.segments:,} segments{sizes}"))
    for file, reason in done.left.items():
        console.print(_plain(f"left as it is: log/{file} {reason}. To do: run `foldlog verify`."))


def changes(console: Console, made: Sequence[DayChange], *, dry_run: bool) -> None:
    """What a rebuild changed, day by day."""
    changed = [day for day in made if day.changed]
    if changed:
        columns = [("day", False)] + [
            (name, True) for name in ("events before", "after", "visitors before", "after", "rows that differ")
        ]
        rows = [(d.day, d.events_before, d.events_after, d.visitors_before, d.visitors_after, d.rows_changed) for d in changed]
        _table(console, columns, rows)
    for day in changed:
        if day.damaged:
            console.print(_plain(f"{day.day}: {day.damaged} damaged parts {'would be' if dry_run else 'were'} made again"))
        if day.found:
            console.print(_plain(f"{day.day}: {day.found} events come from parts that the snapshot does not name"))
        if day.gone:
            console.print(
                _plain(f"{day.day}: {day.gone} of {day.events_before} events are in no part and no log: they are gone")
            )
    verb = "would change" if dry_run else "changed"
    console.print(_plain(f"{len(changed)} of {len(made)} days {verb}"))


_NOBODYS = (
    "What nobody can erase: events that came without a visitor id carry a hash made with a salt that is destroyed at midnight. "
    "Nobody can tell any more which of them were one person's. Counters name nobody, and stay where the archive is gone."
)


def would_erase(console: Console, found: Found) -> None:
    """What an erasure would take."""
    sums = (found.events, len(found.days), found.lines, len(found.segments), sum(found.quarantine.values()))
    console.print(_plain(f"would erase {_erasure(*sums)}"))
    if found.unfolded:
        console.print(_plain(f"not folded yet: {counted(found.unfolded, 'line')}, folded first and erased as well"))
    _not_erased(console, found.other_sites, found.mentions, [path.name for path in found.unreadable])


def erased(console: Console, begun: Begun, done: Done) -> None:
    """What was erased, and what was not."""
    sums = (begun.events, begun.days, begun.lines, begun.segments, begun.quarantined)
    console.print(_plain(f"erased {_erasure(*sums)}; generation {done.generation:,}"))
    _not_erased(console, begun.other_sites, begun.mentions, begun.unreadable)
    console.print("Backups and exports that were made before hold the visitor still.")


def _erasure(events: int, days: int, lines: int, segments: int, quarantined: int) -> str:
    of_log = f"{counted(lines, 'line')} of {counted(segments, 'segment')}"
    return f"{counted(events, 'event')} on {counted(days, 'day')}, {of_log}, {counted(quarantined, 'quarantined line')}"


def _not_erased(console: Console, other_sites: int, mentions: int | None, unreadable: Sequence[str]) -> None:
    if other_sites:
        console.print(f"on other sites, left because of --site: {counted(other_sites, 'event')} of the visitor")
    if mentions:
        console.print(f"left: {counted(mentions, 'event')} of others with the same text in some field, a URL or a property")
    for name in unreadable:
        console.print(_plain(f"{name} in quarantine/ or log/ cannot be read: look at it, or delete it"))
    console.print(_NOBODYS)


def expiring(console: Console, plan: RetentionPlan, found: Settings, *, dry_run: bool) -> None:
    """What retention takes or took, a line for each kind and reason, and what it leaves though it should not."""
    if plan.skipped:
        _line(console, f"nothing {'would go' if dry_run else 'was deleted'}: {plan.skipped}")
        return
    for kind in plan.kinds:
        for line in _expiring(kind, found, "would go" if dry_run else "deleted"):
            _line(console, line)
    if not any(kind.going for kind in plan.kinds):
        _line(console, "nothing would go" if dry_run else "nothing was deleted")
    if any(kind.is_held for kind in plan.kinds):
        _line(console, "what is held is most of its kind at once; `foldlog retain --held` deletes it")


def _expiring(kind: KindPlan[Any], found: Settings, verb: str) -> Iterator[str]:
    reasons = {
        "age": f"older than {getattr(found, f'{kind.kind}_retention_days')} days",
        "size": f"over FOLDLOG_{kind.kind.upper()}_MAX_BYTES by {size(kind.excess_bytes)}",
    }
    for why, reason in reasons.items():
        items = [item for item in kind.past if item.why == why]
        if items:
            what = f"{len(items):,} {'segments' if kind.kind == 'log' else 'days'}"
            days, taken = {item.day for item in items}, size(sum(item.bytes for item in items))
            verb = "held" if kind.is_held else verb
            yield f"{verb}: {kind.kind}, {what} of {min(days)} to {max(days)}, {taken}, {reason}"
    if kind.over_bytes:
        yield f"stays: {kind.kind}, {size(kind.over_bytes)} above its limit, of which nothing may go yet"


def _line(console: Console, text: str) -> None:
    console.print(_plain(text), soft_wrap=True)


def backed_up(console: Console, made: Backup, leftovers: Sequence[Path]) -> None:
    """What a backup holds, and how to look whether it does. Lines stay whole: they are there to be copied."""
    files = f"{made.segments:,} segments and {made.parts:,} parts, {size(made.bytes)} in all"
    lines = [
        f"{made.path} holds generation {made.generation:,}: {files}, which it shares with the data directory",
        f"to check it: FOLDLOG_DATA_DIR={made.path} foldlog verify",
        *(f"{path} is what a backup left that was killed; to remove it: rm -r {path}" for path in leftovers),
    ]
    for line in lines:
        _line(console, line)


def tokens(console: Console, kept: Sequence[Token], *, from_settings: bool) -> None:
    _table(
        console,
        [("id", False), ("scope", False), ("created", False)],
        [(token.id, token.scope, token.created) for token in kept],
    )
    if from_settings:
        console.print("and those in FOLDLOG_ADMIN_TOKEN and FOLDLOG_INGEST_KEYS")


def settings(console: Console, found: Settings) -> None:
    """Every setting in force. Secrets show only whether they are set."""
    rows = [(f"FOLDLOG_{field.name.upper()}", _setting(field.name, getattr(found, field.name))) for field in fields(found)]
    _table(console, [("", False), ("", False)], rows)


def _setting(name: str, value: object) -> str:
    if name in _SECRET:
        return "(set)" if value else "(not set)"
    if isinstance(value, tuple):
        separator = {"listen": ":", "consent_cookie": "="}.get(name, " ")
        return separator.join(str(part) for part in value)
    return str(value)


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
