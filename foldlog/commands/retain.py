"""`foldlog retain`: delete what is past its retention now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compactor.retention.command import preview_retention, retain_now
from compactor.retention.plan import Item, KindPlan, RetentionPlan
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.quantities import size
from foldlog.terminal import Console, line
from shared.exit_codes import SUCCESS, TRY_AGAIN
from shared.settings import Settings
from shared.timestamps import now_ms


def run(call: Invocation) -> int:
    require_data_dir(call.data)
    if call.options.dry_run:
        plan = preview_retention(call.data, call.settings, now_ms(), confirmed=call.options.confirm)
    else:
        plan = retain_now(call.data, call.settings, call.log, now_ms, confirmed=call.options.confirm)
    show(Console(), plan, call.settings, dry_run=call.options.dry_run)
    return TRY_AGAIN if plan.skipped and not call.options.dry_run else SUCCESS


def show(console: Console, plan: RetentionPlan, settings: Settings, *, dry_run: bool) -> None:
    """A line for each kind and reason, and one for each kind that stays above its
    limit.
    """
    nothing = f"nothing {'would be' if dry_run else 'was'} deleted"
    if plan.skipped:
        line(console, f"{nothing}: {plan.skipped}")
        return
    for kind in plan.kinds:
        for text in _kind_lines(kind, settings, "would delete" if dry_run else "deleted"):
            line(console, text)
    if not any(kind.to_delete for kind in plan.kinds):
        line(console, nothing)
    if any(kind.on_hold for kind in plan.kinds):
        line(console, "a deletion on hold would remove most of its kind; `foldlog retain --confirm` carries it out")


def _kind_lines(kind: KindPlan[Any], settings: Settings, verb: str) -> Iterator[str]:
    reasons = {
        "age": f"older than {getattr(settings, f'{kind.kind}_retention_days')} days",
        "size": f"over FOLDLOG_{kind.kind.upper()}_MAX_BYTES by {size(kind.excess_bytes)}",
    }
    for reason, text in reasons.items():
        items = [item for item in kind.expired if item.reason == reason]
        if items:
            yield f"{'on hold' if kind.on_hold else verb}: {kind.kind}, {_amount(kind, items)}, {text}"
    if kind.undeletable_bytes:
        yield f"kept: {kind.kind}, {size(kind.undeletable_bytes)} above its limit that may not be deleted yet"


def _amount(kind: KindPlan[Any], items: list[Item[Any]]) -> str:
    """How many segments or days, which ones, and their size."""
    unit = "segments" if kind.kind == "log" else "days"
    days = {item.day for item in items}
    return f"{len(items):,} {unit} of {min(days)} to {max(days)}, {size(sum(item.bytes for item in items))}"
