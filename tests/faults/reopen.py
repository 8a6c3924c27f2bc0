"""What the next start makes of a directory that a crash left: the real recovery, the
real compactor, then the oracle.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from compactor.generations.garbage import sweep_orphans
from compactor.lock import compactor_lock
from compactor.run_pass import recover_abandoned_segments, run_pass
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory, parse_segment
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.builders.silent_log import SilentLog
from tests.faults.crash import make_tree
from tests.faults.oracle import Contents, Violations, compare, read_directory
from tests.faults.record import Tree, read_tree

PASSES_MAX = 25


class Reopener:
    """Opens directories again, one after the other, below `place`.

    Recovery runs on each. The passes after it depend on the snapshot and the lines that
    recovery kept, and on nothing else of the crash: where both are those of an earlier
    directory, what its passes made is not made again.
    """

    def __init__(self, place: Path, now_ms: int) -> None:
        self._root = place / "reopened"
        self._now_ms = now_ms
        self._folded: dict[bytes, Contents] = {}

    @property
    def different(self) -> int:
        """How many directories were folded: those that recovery left different from all
        before.
        """
        return len(self._folded)

    def check(
        self, tree: Tree, intended: set[str], acknowledged: set[str], generation: int, *, damaged: bool = False
    ) -> Violations:
        """Open what a crash left; I1 to I7 must hold before and after everything is
        folded, without help.

        `damaged`: something in it is not as it was written; then they hold once
        everything is folded.
        """
        try:
            return self._check(tree, intended, acknowledged, generation, damaged=damaged)
        except Exception as error:  # noqa: BLE001  whatever it is, a service would not start
            return Violations(frozenset(), frozenset(), frozenset(), (f"I7: {error!r}",))

    def _check(
        self, tree: Tree, intended: set[str], acknowledged: set[str], generation: int, *, damaged: bool
    ) -> Violations:
        shutil.rmtree(self._root, ignore_errors=True)
        make_tree(self._root, tree)
        data = DataDirectory(self._root)
        make_data_directory(data)
        recover_abandoned_segments(data, SilentLog())
        recovered = read_tree(self._root)
        violations = (
            None if damaged else compare(read_directory(self._root), intended, acknowledged, generation=generation)
        )
        if not violations and self._recovers_again(data) != recovered:
            return Violations(frozenset(), frozenset(), frozenset(), ("I7: a second recovery changes the directory",))
        return violations or compare(self._fold(data), intended, acknowledged, folded=True, generation=generation)

    def _recovers_again(self, data: DataDirectory) -> Tree:
        recover_abandoned_segments(data, SilentLog())
        return read_tree(self._root)

    def _fold(self, data: DataDirectory) -> Contents:
        key = self._what_the_fold_sees(data)
        if key not in self._folded:
            settings = Settings(data_dir=data.root, fold_memory=256 << 20)
            with compactor_lock(data) as lock:
                sweep_orphans(data, load_snapshot(data))
                passes = 1
                while run_pass(data, settings, SilentLog(), lock, self._now_ms).more:
                    passes += 1
                    assert passes < PASSES_MAX, "passes without end"
            self._folded[key] = read_directory(data.root)
        return self._folded[key]

    def _what_the_fold_sees(self, data: DataDirectory) -> bytes:
        seen = hashlib.sha256(data.snapshot.read_bytes() if data.snapshot.exists() else b"")
        for path in sorted(data.log.iterdir(), key=lambda path: str(parse_segment(path.name))):
            segment = parse_segment(path.name)
            if segment is not None:  # without the time in its name, which is that of the recovery
                is_named = path.with_name(segment.checksum).exists()
                content = hashlib.sha256(path.read_bytes()).digest()
                seen.update(f"{segment.writer} {segment.sequence} {is_named}".encode() + content)
        for path in sorted(data.root.rglob("*.parquet")):
            seen.update(str(path.relative_to(data.root)).encode())
        return seen.digest()
