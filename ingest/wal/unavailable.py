"""Why log lines were not stored, as the code and the sentence that a client gets."""

from __future__ import annotations

from shared.exit_codes import TemporaryFailure


class Unavailable(TemporaryFailure):
    """The lines were not stored. The client may send them again."""

    code = "unavailable"


class Busy(Unavailable):
    """The write queue is full."""

    code = "busy"


class Stopping(Unavailable):
    """The worker is shutting down."""

    code = "stopping"


class DiskFull(Unavailable):
    """There is no space left for the lines."""

    code = "disk_full"
