"""Checks of `foldlog verify` on the log: do the segments contain what was written?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compactor.fold.verify_segments import VerifiedSegment
from compactor.repair.verify_finding import VerifyFinding
from shared.disk.layout import DataDirectory
from shared.segments.line import iter_lines, scan_lines
from shared.segments.sealed import active_segments, open_segment, recorded_sha256

LINES_SHOWN_MAX = 20
_RESTORE = "restore it from a backup, then run `foldlog rebuild`"
_WRITE_SHA256 = (
    "; if there is no backup and nothing is missing, write its .sha256 with `sha256sum` (of the uncompressed lines)"
)


def check_segments(verified: Sequence[VerifiedSegment]) -> Iterator[VerifyFinding]:
    """Sealed segments have not changed since, and contain good lines only."""
    for each in verified:
        if each.damaged:
            yield from _damage(each)


def _damage(verified: VerifiedSegment) -> Iterator[VerifyFinding]:
    """One finding for the segment, and one for each of its first bad lines."""
    segment = verified.segment
    where = f"log/{segment.path.name}"
    problem = "differs from its .sha256"
    if recorded_sha256(segment.checksum) is None:
        problem = f"has no .sha256 that can be read (log/{segment.checksum.name})"
    if verified.bad:
        lines = f"{verified.lines} lines are intact, {verified.quarantined} are in quarantine"
        yield VerifyFinding(where, f"{problem}; {lines}", _RESTORE)
    else:
        lines = f"all its {verified.lines} lines are intact, but some may be missing"
        yield VerifyFinding(where, f"{problem}; {lines}", _RESTORE + _WRITE_SHA256)
    for line in verified.bad[:LINES_SHOWN_MAX]:
        place = f"at byte {line.offset}" if line.offset >= 0 else "further on"
        yield VerifyFinding(f"{where} {place}", line.reason, f"see quarantine/{segment.name.stem}.ndjson")


def check_active(data: DataDirectory) -> Iterator[VerifyFinding]:
    """Active segments contain good lines only. A last line without its newline may be
    still being written.
    """
    for path in active_segments(data).values():
        with open_segment(path) as file:
            for line in scan_lines(iter_lines(file)):
                if line.reason and line.content.endswith(b"\n"):
                    where = f"log/{path.name} at byte {line.offset}"
                    yield VerifyFinding(where, line.reason, "restart the worker: it recovers the other lines")
