"""Where everything is: the balance of P8, the segments, the lag, the disk. For `foldlog
status` and GET /admin/api/status.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.disk.layout import DataDirectory
from shared.erasures import count_pending
from shared.generations.load import find_snapshot
from shared.generations.part_presence import missing_parts
from shared.generations.snapshot import Retention, Snapshot
from shared.segments.quarantine import lines_quarantined_by_recovery
from shared.segments.sealed import active_segments, count_lines, file_sizes, sealed_segments
from shared.settings import Settings
from shared.timestamps import epoch_ms, now_ms
from shared.undeclared_proxy import warning

_TRIES = 5


@dataclass(frozen=True)
class Balance:
    """P8: accepted = counted + duplicates + quarantined + erased + not yet folded."""

    accepted: int
    counted: int
    duplicates: int
    quarantined: int
    erased: int
    not_yet_folded: int

    @property
    def difference(self) -> int:
        """0, or events have disappeared."""
        return self.accepted - self.counted - self.duplicates - self.quarantined - self.erased - self.not_yet_folded


def read_status(data: DataDirectory, settings: Settings) -> dict[str, Any]:
    """The status as JSON shows it; docs/api.md explains each part. Reads the unfolded
    part of the log, nothing else of it.
    """
    for _ in range(_TRIES):
        try:
            return _read_status(data, settings)
        except FileNotFoundError:
            continue  # a segment was sealed or removed between being listed and being read
    return _read_status(data, settings)


def _read_status(data: DataDirectory, settings: Settings) -> dict[str, Any]:
    snapshot, _, damage = find_snapshot(data)
    unfolded = [s for s in sealed_segments(data) if not snapshot.has_folded(s.name)]
    active = active_segments(data)
    waiting = sum(count_lines(path) for path in active.values())
    sealed_waiting = sum(count_lines(segment.path) for segment in unfolded)
    balance = make_balance(snapshot, waiting + sealed_waiting, lines_quarantined_by_recovery(data))
    disk = os.statvfs(data.root)
    return {
        "balance": vars(balance) | {"difference": balance.difference, "conflicts": snapshot.totals.conflicts},
        "segments": {
            "active": {writer: path.stat().st_size for writer, path in active.items()},
            "sealed_unfolded": len(unfolded),
            "missing": {writer: list(sequences) for writer, sequences in snapshot.waiting.items() if sequences},
            "damaged": snapshot.totals.damaged_segments,
        },
        "generation": snapshot.generation,
        "as_of": snapshot.as_of,
        "lag_s": max(0.0, (now_ms() - epoch_ms(snapshot.as_of)) / 1000) if snapshot.generation else None,
        "last_fold": {
            "segments": snapshot.last_pass.segments,
            "lines": snapshot.last_pass.lines,
            "seconds": snapshot.last_pass.seconds,
        },
        "last_retention": {
            "at": snapshot.retention.at,
            "segments": snapshot.retention.segments,
            "archive_days": snapshot.retention.archive_days,
            "counter_days": snapshot.retention.counter_days,
            "skipped": snapshot.retention.skipped,
            "last_success": snapshot.retention.last_success,
            "held": {kind: msgspec.to_builtins(held) for kind, held in snapshot.retention.held.items()},
            "over_limit": snapshot.retention.over_limit,
        },
        "disk": {
            "free_bytes": disk.f_bavail * disk.f_frsize,
            "reserve_bytes": settings.disk_reserve,
            "log_bytes": sum(file_sizes(data).values()),
            "archive_bytes": sum(part.bytes for day in snapshot.days.values() for part in day.archive),
            "counters_bytes": sum(day.counters.bytes for day in snapshot.days.values() if day.counters),
        },
        "erasures_pending": count_pending(data),
        "warnings": [text for text in (warning(data, settings), damage, of_parts(data, snapshot)) if text]
        + list(of_retention(snapshot.retention)),
        "days": {"first": str(min(snapshot.days)), "last": str(max(snapshot.days))} if snapshot.days else None,
    }


def of_retention(run: Retention) -> Iterator[str]:
    """A sentence for each kind of which something is kept that should not be."""
    for kind, held in run.held.items():
        yield (
            f"retention waits: it would delete {held.days} of {held.kept_days} days of the {kind} at once, {held.first} "
            f"to {held.last}; `foldlog retain --dry-run` shows why, `foldlog retain --confirm` deletes them"
        )
    for kind, size in run.over_limit.items():
        name = f"FOLDLOG_{kind.upper()}_MAX_BYTES"
        yield f"the {kind} is {size:,} bytes over {name}, and nothing more of it may go yet; raise the limit if that stays so"


def of_parts(data: DataDirectory, snapshot: Snapshot) -> str | None:
    """As a copy of a running directory is until it is rebuilt."""
    missing = list(missing_parts(data, snapshot))
    if (
        not missing or find_snapshot(data).snapshot.generation != snapshot.generation
    ):  # an erasure has swept them away since
        return None
    return f"{len(missing)} parts that snapshot.json names are not there, such as {missing[0]}: run `foldlog rebuild`"


def make_balance(snapshot: Snapshot, not_yet_folded: int, recovery_quarantined: int) -> Balance:
    totals = snapshot.totals
    return Balance(
        accepted=totals.lines + recovery_quarantined + not_yet_folded,
        counted=totals.counted,
        duplicates=totals.duplicates,
        quarantined=totals.quarantined + recovery_quarantined,
        erased=totals.erased,
        not_yet_folded=not_yet_folded,
    )
