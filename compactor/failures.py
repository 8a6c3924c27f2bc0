"""Which failures of a pass are due to what it folds, and how their reason is told."""

from __future__ import annotations

import re

from compactor.generations.commit import CommitLost
from compactor.lock import CompactorBusy
from compactor.repair.directory_check import InconsistentDirectory
from compactor.stop import PassStopped
from shared.duckdb_engine import database_error
from shared.exit_codes import TemporaryFailure, UsageError
from shared.generations.snapshot import SnapshotDamaged
from shared.segments.line import DataFromNewerVersion

REASON_MAX = 500
# The disk, another process, another version, or a request to end: folding less would
# not help, and the segments are not the cause.
_OF_OTHERS = (
    OSError,
    CommitLost,
    CompactorBusy,
    SnapshotDamaged,
    DataFromNewerVersion,
    InconsistentDirectory,
    PassStopped,
)
_OWN = (UsageError, TemporaryFailure, OSError)
# From the first quotation mark on, a message may quote what a client has sent.
_QUOTED = re.compile(r"[\"'`].*", re.DOTALL)


def is_of_the_data(error: Exception) -> bool:
    """Whether a pass failed because of what it folds, so that it may fold less."""
    if isinstance(error, _OF_OTHERS):
        return False
    return not isinstance(error, (database_error("IOException"), database_error("InterruptException")))


def failure_text(error: Exception) -> str:
    """Why a round failed, for the operator."""
    return str(error)[:1000] if isinstance(error, _OWN) else safe_reason(error)


def safe_reason(error: Exception) -> str:
    """Type and message, without what a client has sent. Foldlog's own messages name
    files, days and numbers only, and DuckDB's about memory only numbers.
    """
    message = str(error)
    if not isinstance(error, (*_OWN, database_error("OutOfMemoryException"))):
        message = _QUOTED.sub("", message).strip(" :,(")
    name = type(error).__name__
    return f"{name}: {' '.join(message.split())}"[:REASON_MAX] if message else name
