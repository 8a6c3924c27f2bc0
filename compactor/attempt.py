"""One attempt of a pass: what it is asked to fold, and how far it came, for the
round that handles its failure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date

from compactor.fold.verify_segments import Piece
from compactor.stop import Stop


@dataclass
class Attempt:
    """`pieces`: what is folded; without any, the next segments but those with a stem in
    `waiting`. `keeps_all`: without retention. `retried`: a day whose merge is tried,
    however often it failed. The pass writes down in `chosen` what it folds, in `day`
    the UTC day whose parts it writes, and in `merging` the one that it merges.
    """

    pieces: Sequence[Piece] = ()
    waiting: Collection[str] = ()
    stop: Stop = field(default_factory=Stop)
    retried: date | None = None
    keeps_all: bool = False
    chosen: Sequence[Piece] = ()
    day: date | None = None
    merging: date | None = None

    def begins(self, day: date | None) -> None:
        """A step of the pass begins, on one day or on all. Raises PassStopped."""
        self.day = day
        self.stop.check_within_pass()
