"""Ways to break a promise, each made on purpose in a copy of the source: the tests must
notice.

    python -m tests.faults.mutants [--only WORDS]

A harness that finds nothing proves something only if it would have found it. For each
mutant the tests named beside it run in the copy until the first one fails, those of
`make test` only; a mutant that survives them is a hole in the tests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.faults.mutant import Edit, Mutant
from tests.faults.mutants_of_claims import MUTANTS_OF_CLAIMS
from tests.faults.outcome import commit

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("foldlog", "ingest", "reports", "compactor", "shared", "web", "tests", "pyproject.toml")
LIMIT_S = 600

CLONES = "tests/faults/test_crash_clones.py"
ACTIVE = "tests/ingest/wal/test_active_segment.py"
FOLD = "tests/compactor/fold/test_dedupe.py"
FOLD_IS_PURE = "tests/laws/test_p06_fold_is_pure.py"
COUNTERS = "tests/compactor/fold/test_counters.py"
RECOUNT = "tests/laws/test_p06_recount.py"
RETENTION = "tests/compactor/retention/test_plan.py"


MUTANTS = (
    Mutant(
        "skip fdatasync",
        (Edit("ingest/wal/active_segment.py", "            self._sync(self._descriptor)\n", "            pass\n"),),
        (CLONES,),
    ),
    Mutant(
        "acknowledge before fdatasync",
        (
            Edit(
                "ingest/wal/commit_queue.py",
                "        error = self.segment_writer.commit(group.blob, group.lines)\n",
                "        self._loop.call_soon_threadsafe(self._finish, group.members, None)\n"
                "        self.segment_writer.commit(group.blob, group.lines)\n",
            ),
            Edit(
                "ingest/wal/commit_queue.py",
                "        self._loop.call_soon_threadsafe(self._finish, group.members, error)\n",
                "",
            ),
        ),
        ("tests/laws/test_p01_durable.py", "tests/faults/test_real_faults.py"),
    ),
    Mutant(
        "no fsync of the new segment's directory",
        (Edit("ingest/wal/active_segment.py", "            sync_directory(path.parent)\n", ""),),
        (CLONES,),
    ),
    Mutant(
        "no fsync of the snapshot before its rename",
        (
            Edit(
                "shared/disk/durable.py",
                "            os.fsync(descriptor)\n        finally:\n            os.close(descriptor)\n        beside",
                "            pass\n        finally:\n            os.close(descriptor)\n        beside",
            ),
        ),
        (CLONES,),
    ),
    Mutant(
        "no directory fsync after it",
        (Edit("shared/disk/durable.py", "        raise\n    sync_directory(target.parent)\n", "        raise\n"),),
        (CLONES,),
    ),
    Mutant(
        "delete before publish",
        (
            Edit(
                "compactor/run_pass.py",
                "        commit(data, before, after, lock)\n",
                "        for segment in chosen:\n            segment.path.unlink()\n        commit(data, before, "
                "after, lock)\n",
            ),
        ),
        (CLONES,),
    ),
    Mutant(
        "retry fsync after EIO",
        (
            Edit(
                "ingest/wal/active_segment.py",
                '            raise SegmentSuspect(f"cannot sync {self.path}: {error.strerror}") from error\n',
                "            self._sync(self._descriptor)\n            del error\n",
            ),
        ),
        ("tests/faults/test_real_faults.py", ACTIVE),
    ),
    Mutant(
        "append after a short write",
        (Edit("ingest/wal/active_segment.py", "            self._truncate_back()\n", ""),),
        (ACTIVE,),
    ),
    Mutant(
        "ignore write's return",
        (
            Edit(
                "ingest/wal/active_segment.py",
                "                view = view[os.write(self._descriptor, view) :]\n",
                "                os.write(self._descriptor, view)\n                break\n",
            ),
        ),
        (ACTIVE, "tests/faults/test_real_faults.py"),
    ),
    Mutant(
        "fold without recording the segment",
        (
            Edit(
                "compactor/run_pass.py",
                "{each.segment.name: each.end for each in segments if not each.again}",
                "{}",
            ),
        ),
        (CLONES, FOLD, FOLD_IS_PURE),
    ),
    Mutant(
        "record without folding",
        (
            Edit(
                "compactor/run_pass.py",
                "    try:\n        incoming = load_lines(context.database, verified, context.settings.sites)\n",
                "    try:\n        load_lines(context.database, [], context.settings.sites)\n"
                "        incoming = IncomingLines(tuple(verified))\n",
            ),
        ),
        (CLONES, FOLD, FOLD_IS_PURE),
    ),
    Mutant(
        "take what is set aside for folded",
        (
            Edit(
                "shared/generations/snapshot.py",
                "return self.has_passed(name) and not (self.set_aside and name.stem in self._set_aside_segments)",
                "return self.has_passed(name)",
            ),
        ),
        ("tests/laws/test_p13_bounded.py",),
    ),
    Mutant(
        "ask the snapshot when the compactor last looked",
        (
            Edit(
                "shared/generations/last_look.py",
                "max(epoch_ms(snapshot.as_of), read_mark(data.last_pass) or 0)",
                "epoch_ms(snapshot.as_of)",
            ),
        ),
        ("tests/compactor/test_idle.py",),
    ),
    Mutant(
        "no CRC check",
        (Edit("shared/segments/line.py", "if crc32(line[: -CRC_BYTES - 1]) != int(field[1], 16):", "if not field:"),),
        ("tests/shared/segments/test_damage.py",),
    ),
    Mutant(
        "stop at the first bad line",
        (
            Edit(
                "shared/segments/line.py",
                "        offset += len(line)\n",
                "        offset += len(line)\n        if reason:\n            return\n",
            ),
        ),
        ("tests/shared/segments/test_damage.py", "tests/shared/segments/test_recovery.py"),
    ),
    Mutant(
        "recovery that appends to the orphan",
        (
            Edit(
                "ingest/wal/segment_writer.py",
                "        recovered = recover(self._data, self._writer)\n",
                "        recovered = None\n",
            ),
            Edit("ingest/wal/active_segment.py", "os.O_CREAT | os.O_EXCL |", "os.O_CREAT |"),
            Edit(
                "ingest/wal/active_segment.py",
                "        self._identity = (created.st_ino, created.st_dev, 1)\n",
                "        self._identity = (created.st_ino, created.st_dev, 1)\n        self.bytes = created.st_size\n"
                "        self.lines = self.path.read_bytes().count(b'\\n')\n",
            ),
        ),
        ("tests/laws/test_p02_whole_lines.py",),
    ),
    Mutant(
        "two compactors with no generation check",
        (
            Edit(
                "compactor/generations/commit.py",
                "if load_snapshot(data).generation != before.generation:",
                "if not before:",
            ),
            Edit("compactor/generations/commit.py", "    if not lock.is_valid():", "    if not lock:"),
            Edit(
                "compactor/lock.py",
                "        if not is_locked:",
                "        if not data:",
            ),
        ),
        (
            "tests/laws/test_p05_one_rename.py",
            "tests/compactor/test_lock.py",
            "tests/compactor/generations/test_commit.py",
        ),
    ),
    Mutant(
        "dedupe only in memory",
        (
            Edit(
                "compactor/fold/dedupe.py",
                "    ids = open_ids(context, before, sorted(dedupe_window(touched)))\n",
                "    ids = open_ids(context, before, [])\n",
            ),
        ),
        (CLONES, FOLD, FOLD_IS_PURE),
    ),
    Mutant(
        "trust the number of an id",
        (
            Edit("compactor/fold/places_by_id.sql", "    WHERE {archived_hash} IN (SELECT hash FROM sought)\n", ""),
            Edit("compactor/fold/places_by_id.sql", "WHERE c.site = s.site AND c.client_id = s.id", ""),
        ),
        (FOLD,),
    ),
    Mutant(
        "an archive part without the index of its ids",
        (
            Edit(
                "compactor/generations/part_writer.py",
                "    index = _write_index(context, day, kept, absorbed, indexed, generation) if part else None\n",
                "    index = None\n",
            ),
        ),
        (FOLD, FOLD_IS_PURE),
    ),
    Mutant(
        "keep both parts in a merge of counters",
        (
            Edit(
                "compactor/generations/counter_parts.py",
                "    others = tuple(each for each in kept.counters if each not in absorbed)\n",
                "    others = kept.counters\n",
            ),
        ),
        (COUNTERS, RECOUNT),
    ),
    Mutant(
        "an event that is replaced stays counted",
        (
            Edit(
                "compactor/fold/counters.py",
                '"replaced_events" if events.replaced else None',
                "None",
            ),
        ),
        (FOLD, RECOUNT),
    ),
    Mutant(
        "the sums of the summary forget what a pass added",
        (
            Edit(
                "compactor/summary/site_events.py",
                "        total[place] += events\n",
                "",
            ),
        ),
        ("tests/compactor/summary/test_summary.py",),
    ),
    Mutant(
        "mass deletion without confirmation",
        (
            Edit(
                "compactor/retention/plan.py",
                "    on_hold = len(days) > UNCONFIRMED_DAYS_MAX and",
                "    on_hold = len(days) > 36_500 and",
            ),
        ),
        (RETENTION,),
    ),
    Mutant(
        "carry out more than was confirmed",
        (Edit("shared/disk/layout.py", " and last <= self.last and days", " and days"),),
        (RETENTION,),
    ),
    Mutant(
        "delete what a kept snapshot has not folded",
        (Edit("compactor/retention/plan.py", "(after, *log.fallbacks)", "(after,)"),),
        (RETENTION,),
    ),
    Mutant(
        "limit of bytes before the clock guard",
        (
            Edit(
                "compactor/retention/plan.py",
                "    if anomaly := clock_anomaly(before, now_ms):\n",
                "    if (anomaly := clock_anomaly(before, now_ms)) and not settings.log_max_bytes:\n",
            ),
        ),
        (RETENTION,),
    ),
    *MUTANTS_OF_CLAIMS,
)


CONTROL = Mutant("none: the control", (), tuple(dict.fromkeys(test for mutant in MUTANTS for test in mutant.tests)))


class Caught(NamedTuple):
    """What became of a mutant: the first test that failed, or None; how long that took.

    `is_red` says that its tests did not all pass, for whatever reason: of the control,
    which has no defect, they must.
    """

    mutant: Mutant
    test: str | None
    seconds: float
    output: str
    is_red: bool


def hunt(mutant: Mutant) -> Caught:
    """Make the mutant in a copy of the source, and run its tests there until one
    fails.
    """
    with tempfile.TemporaryDirectory(prefix="foldlog-mutant-") as place:
        copy = Path(place)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        for edit in mutant.edits:
            apply(edit, copy)
        started = time.monotonic()
        options = ["-x", "-q", "-m", "not long", "-p", "no:cacheprovider", "--tb=line"]
        command = [sys.executable, "-m", "pytest", *options, *mutant.tests]
        environ = os.environ | {"PYTHONPATH": place, "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / ".hypothesis")}
        try:
            done = subprocess.run(
                command, cwd=copy, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Caught(mutant, None, LIMIT_S, "it took too long", is_red=True)
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        # 1: a test failed. Anything else (no test was found, the copy cannot be
        # imported) says nothing about the mutant.
        caught = failed[1] if failed and done.returncode == 1 and "ERROR collecting" not in done.stdout else None
        output = done.stdout[-2000:] + done.stderr[-500:]
        return Caught(mutant, caught, time.monotonic() - started, output, is_red=done.returncode != 0)


def apply(edit: Edit, root: Path) -> None:
    """Raises ValueError when the text is not there exactly once: the mutant is out of
    date.
    """
    path = root / edit.file
    source = path.read_text("utf-8")
    if source.count(edit.old) != 1:
        raise ValueError(f"{edit.file} has {source.count(edit.old)} times: {edit.old!r}")
    path.write_text(source.replace(edit.old, edit.new), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Break promises on purpose, and see that the tests notice.")
    parser.add_argument("--only", default="", help="mutants whose name has these words")
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if given.only in mutant.name]
    print("| mutant | caught by | seconds |\n|---|---|---|")
    with ThreadPoolExecutor(2) as pool:
        hunts = []
        for caught in pool.map(hunt, [CONTROL, *chosen]):
            print(f"| {caught.mutant.name} | `{caught.test or 'nothing'}` | {caught.seconds:.0f} |", flush=True)
            hunts.append(caught)
    control, *hunts = hunts
    survivors = [caught for caught in hunts if caught.test is None]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught; commit {commit()}")
    for wrong in survivors + [control] * control.is_red:
        print(f"\nWRONG: {wrong.mutant.name}\n{wrong.output}")
    return 1 if survivors or control.is_red else 0


if __name__ == "__main__":
    sys.exit(main())
