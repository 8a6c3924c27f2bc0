"""What `foldlog verify` reports, and the advice that several checks share."""

from __future__ import annotations

from typing import NamedTuple

RUN_REBUILD = "run `foldlog rebuild`"
RUN_COMPACT = "run `foldlog compact --once`, if no compactor is running"


class VerifyFinding(NamedTuple):
    """A promise that does not hold: the file, what is wrong with it, and what the
    operator should do.
    """

    where: str
    problem: str
    action: str
