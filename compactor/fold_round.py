"""A round: passes until every sealed segment is folded, or waits because it cannot be.

What fails for a reason of its own is tried with fewer bytes, then as one segment, then
as pieces of it, down to the line, or to the day, that fails. The other segments are
folded meanwhile. What has failed in three rounds, or ended its process as often, is set
aside: the ledger passes it, its lines stay in the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from compactor.attempt import Attempt
from compactor.failures import is_of_the_data, safe_reason
from compactor.fold.select_segments import PASS_MAX_BYTES, pass_max_bytes, rest_of
from compactor.fold.set_aside import build
from compactor.fold.verify_segments import Piece, extent_of
from compactor.generations.merge_failure import failed_days
from compactor.killed import count_killed, reduced_bytes
from compactor.lock import CompactorLock
from compactor.pass_over import note_failed_merge, note_try, pass_over
from compactor.run_pass import Pass, run_pass
from compactor.stop import PassStopped, Stop
from compactor.tries import TRIES_MAX, Failing, read_tries, write_tries
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import SetAside, Snapshot
from shared.lateness import dedupe_window
from shared.log import Log
from shared.segments.sealed import Segment, sealed_segments
from shared.settings import Settings
from shared.timestamps import now_ms

# More pieces of one segment, days of one piece, or entries in all would be a ledger
# that every reader pays for: then the rest of the segment is set aside, or waits.
PIECES_MAX = 8
DAYS_MAX = 16
ENTRIES_MAX = 1000


class Round:
    """The passes of one round. `failure` is the first of those that segments wait for.

    `tries_max`: in how many rounds something must have failed until it is set aside.
    """

    def __init__(
        self,
        data: DataDirectory,
        settings: Settings,
        log: Log,
        lock: CompactorLock,
        *,
        stop: Stop | None = None,
        tries_max: int = TRIES_MAX,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._data, self._settings, self._log, self._lock = data, settings, log, lock
        self._stop, self._tries_max, self._clock = stop or Stop(), tries_max, clock
        self._failing = read_tries(data)
        self._waiting: set[str] = set()
        self._pieces: Counter[str] = Counter()
        self._attempt = Attempt()
        self._keeps_all = False
        self.failure: Exception | None = None

    def run(self, *, retry: bool = False) -> Pass:
        """Fold everything that is sealed, then try again what another version has set
        aside, or with `retry` whatever is set aside, and the merges that failed. Raises
        what is not due to a segment.
        """
        careful = count_killed(self._data, self._log, self._lock, self._failing, self._clock())
        self._keeps_all = careful.keeps_all
        earlier = sorted(self._failing)
        self._waiting = set(earlier)
        done = self._fold_others(careful.max_bytes)
        on_disk = {segment.name.stem: segment for segment in sealed_segments(self._data)}
        for stem in earlier:
            if stem in on_disk:
                self._isolate(on_disk[stem])
            else:
                self._forget(stem)
            done = self._fold_others()
        for entry in load_snapshot(self._data).set_aside:
            if (retry or entry.version != build()) and entry.segment in on_disk:
                done = self._try_again(entry, on_disk[entry.segment]) or done
        for day in failed_days(load_snapshot(self._data)) if retry else ():
            self._try(retried=day)
        return done

    def _fold_others(self, max_bytes: int = PASS_MAX_BYTES) -> Pass:
        """Fold what does not wait, in passes of fewer bytes where one fails."""
        most = pass_max_bytes(self._settings.fold_memory)
        max_bytes = min(max_bytes, most)
        while True:
            done = self._try(max_bytes=max_bytes)
            chosen = self._attempt.chosen
            if isinstance(done, Pass):
                if not done.more:
                    return done
            elif not chosen:
                raise done
            elif len(chosen) == 1:
                self._isolate(chosen[0].segment, done)
                max_bytes = most
            else:
                max_bytes = reduced_bytes(sum(piece.plain_bytes for piece in chosen))
                self._log.warning("pass_reduced", max_bytes=max_bytes, reason=safe_reason(done))

    def _try(self, *pieces: Piece, max_bytes: int = PASS_MAX_BYTES, retried: date | None = None) -> Pass | Exception:
        """One pass, or why it failed. Raises what is not due to what it folds. A pass
        whose merge of a day does not end is run again without it.
        """
        while True:
            self._stop.check_before_pass()
            self._attempt = Attempt(pieces, self._waiting, self._stop, retried, self._keeps_all)
            now = self._clock()
            try:
                return run_pass(self._data, self._settings, self._log, self._lock, now, max_bytes, self._attempt)
            except Exception as error:
                if self._stop.is_urgent:
                    raise PassStopped from error
                if not is_of_the_data(error):
                    raise
                if self._attempt.merging is None:
                    return error
                note_failed_merge(self._data, self._lock, self._attempt.merging, safe_reason(error), now)
                retried = None

    # --- one segment that fails

    def _isolate(self, segment: Segment, error: Exception | None = None) -> None:
        """Fold of a segment what can be folded. What fails waits for the next round, or
        is set aside. `error` is that of a pass over its rest.
        """
        stem = segment.name.stem
        while not (snapshot := load_snapshot(self._data)).has_passed(segment.name):
            rest = rest_of(snapshot, segment)
            known = self._failing.get(stem)
            if known is not None and known.start == rest.start:
                piece = replace(rest, size=known.size)
                if known.killed and self._is_enough(known, snapshot, stem):
                    if not self._give_up(piece, known):
                        return
                    continue
                done = self._try(piece)
                failed = None if isinstance(done, Pass) else (piece, done)
            else:
                failed = self._narrow(rest, error)
            error = None
            if failed is None:
                self._forget(stem)
            elif not self._count(*failed):
                self._waiting.add(stem)
                self.failure = self.failure or failed[1]
                return
        self._forget(stem)

    def _narrow(self, rest: Piece, error: Exception | None) -> tuple[Piece, Exception] | None:
        """Fold the rest of a segment up to the line that fails. Returns that line with
        its error; None if none failed.

        Without `error` the rest was not tried yet. A damaged part concerns whole days,
        so the rest is not divided.
        """
        start, size = rest.start, extent_of(rest).bytes
        while size > 0:
            piece = replace(rest, start=start, size=max(1, size // 2) if error else size)
            if isinstance(error, PartDamaged):
                return replace(rest, start=start), error
            done = self._try(piece)
            if isinstance(done, Pass):
                end = done.snapshot.partial.get(rest.segment.name.stem, start + size)
                start, size = end, start + size - end
                continue
            error, size = done, piece.size or 1
            if size == 1:
                many = self._pieces[rest.segment.name.stem] >= PIECES_MAX
                return (replace(piece, size=None) if many else piece), error
        return None

    def _count(self, piece: Piece, error: Exception) -> bool:
        """Count one more failure. Returns whether the piece is set aside with it.

        Once a piece of a segment is set aside, the next one does not wait for rounds.
        """
        stem = piece.segment.name.stem
        known = self._failing.get(stem)
        if known is None or known.start != piece.start:
            known = Failing(piece.start, piece.size)
        days = tuple(sorted({*known.days, *self._days_of(error)}))
        failing = Failing(piece.start, piece.size, days, known.tries + 1, safe_reason(error))
        self._failing[stem] = failing
        if self._is_enough(failing, load_snapshot(self._data), stem) and self._give_up(piece, failing):
            return True
        write_tries(self._data, self._failing)
        return False

    def _is_enough(self, failing: Failing, snapshot: Snapshot, stem: str) -> bool:
        return failing.tries >= self._tries_max or any(entry.segment == stem for entry in snapshot.set_aside)

    def _give_up(self, piece: Piece, failing: Failing) -> bool:
        """Set a piece aside, or have it wait where there are too many entries."""
        stem = piece.segment.name.stem
        if len(load_snapshot(self._data).set_aside) >= ENTRIES_MAX:
            self._waiting.add(stem)
            return False
        self._set_aside(replace(piece, reason=failing.reason, tries=failing.tries), set(failing.days))
        self._pieces[stem] += 1
        self._forget(stem)
        return True

    def _set_aside(self, piece: Piece, days: set[date]) -> None:
        """Set aside the lines of these days, and fold the others of a piece; of a
        single line, or if that fails, all of it.
        """
        for _ in range(DAYS_MAX if piece.size is None and days else 0):
            done = self._try(replace(piece, without=frozenset(days)))
            if isinstance(done, Pass):
                break
            found = self._days_of(done)
            if found <= days:
                pass_over(self._data, self._log, self._lock, piece, self._clock())
                break
            days |= found
        else:
            pass_over(self._data, self._log, self._lock, piece, self._clock())
        action = "`foldlog status` shows what is set aside, `foldlog compact --retry` tries it again"
        stem = piece.segment.name.stem
        self._log.warning("segment_set_aside", segment=stem, reason=piece.reason, tries=piece.tries, action=action)

    def _days_of(self, error: Exception) -> set[date]:
        """The UTC days whose lines failed, as far as they are known."""
        if self._attempt.day is not None:
            return {self._attempt.day}
        return dedupe_window([error.day]) if isinstance(error, PartDamaged) else set()

    def _forget(self, stem: str) -> None:
        if self._failing.pop(stem, None) is not None:
            write_tries(self._data, self._failing)

    # --- what is set aside

    def _try_again(self, entry: SetAside, segment: Segment) -> Pass | None:
        """Fold what an entry of the ledger has set aside; None if it fails again."""
        done = self._try(Piece(segment, entry.start, entry.bytes, again=entry))
        day = str(entry.day) if entry.day else None
        self._log.info("segment_retried", segment=entry.segment, day=day, lines=entry.lines, ok=isinstance(done, Pass))
        if isinstance(done, Pass):
            return done
        note_try(self._data, self._lock, entry, safe_reason(done), self._clock())
        return None
