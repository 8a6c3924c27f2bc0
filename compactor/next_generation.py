"""The generation that a command publishes beside the scheduled passes."""

from __future__ import annotations

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.retention.clock_guard import clock_suspect_since
from shared.generations.last_look import at_last_look
from shared.generations.snapshot import Snapshot


def next_generation(context: PassContext, before: Snapshot) -> Snapshot:
    """`before` as of now. `as_of` advances, so a jump of the clock is recorded: later
    passes would not see it (P9).
    """
    suspect_since = clock_suspect_since(at_last_look(context.data, before), context.now_ms)
    retention = replace(before.retention, clock_suspect_since=suspect_since)
    return replace(before, generation=before.generation + 1, as_of=context.now, retention=retention)
