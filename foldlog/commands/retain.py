"""`foldlog retain`: what is past its retention is deleted now."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from compactor.retention.command import plan_only, retain_now
from compactor.retention.plan import KindPlan, RetentionPlan
from foldlog.preflight import require_data_dir
from foldlog.quantities import size
from foldlog.terminal import line
from shared.disk.layout import DataDirectory
from shared.exit_codes import DONE, TRY_AGAIN
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import now_ms


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    if given.dry_run:
        plan = plan_only(require_data_dir(data), settings, now_ms(), is_confirmed=given.confirm)
    else:
        plan = retain_now(require_data_dir(data), settings, log, now_ms, is_confirmed=given.confirm)
    show(Console(), plan, settings, dry_run=given.dry_run)
    return TRY_AGAIN if plan.skipped and not given.dry_run else DONE


def show(console: Console, plan: RetentionPlan, found: Settings, *, dry_run: bool) -> None:
    """What retention takes or took, a line for each kind and reason, and what it leaves
    though it should not.
    """
    if plan.skipped:
        line(console, f"nothing {'would go' if dry_run else 'was deleted'}: {plan.skipped}")
        return
    for kind in plan.kinds:
        for text in _expiring(kind, found, "would go" if dry_run else "deleted"):
            line(console, text)
    if not any(kind.going for kind in plan.kinds):
        line(console, "nothing would go" if dry_run else "nothing was deleted")
    if any(kind.is_held for kind in plan.kinds):
        line(console, "what is held is most of its kind at once; `foldlog retain --confirm` deletes it")


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
