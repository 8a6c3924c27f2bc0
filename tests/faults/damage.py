"""`python -m tests.faults.damage`: every bit flipped and every byte cut, one at a time.

Each damage is shown to the function that has to detect it, and every n-th (`--every`)
to a whole pass and a verify.

Files that are damaged: a sealed segment (plain and compressed), its .sha256, an active
segment whose writer died, snapshot.json, an archive part, a counters part. What must
hold for each damage, alone:

    detected   the pass warns, or fails and publishes nothing, or `foldlog
               verify` names the file; or
    harmless   nothing was said, and everything is counted as if nothing had happened

In either case nothing is counted twice or made up (I2, I3), no counter is other than
its archive (I4), and no event is lost but those whose own bytes were hit. What is
neither detected nor harmless is silent, and fails the programme.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

from compactor.fold.verify_segments import verify_segment
from compactor.process import compact_once
from compactor.repair.verify import verify
from shared.disk.layout import COMPRESSED_SUFFIXES, DataDirectory, parse_part
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged, part_error
from shared.generations.snapshot import Day, Part, SnapshotDamaged, decode_snapshot
from shared.segments.recovery import recover
from shared.segments.sealed import readable_lines, sealed_segments
from tests.builders.silent_log import SilentLog
from tests.faults.damaged_files import UNFOLDED, Damage, Target, make_targets, settings_of
from tests.faults.oracle import find_violations, id_of
from tests.faults.outcome import Outcome, file_system

MEMORY = Path("/dev/shm")  # noqa: S108
EVERY = 97


def ask(target: Target, ids: list[str], data: DataDirectory) -> Callable[[Damage], str]:
    """Asks the function that has to detect a damage: `detected`, `harmless` or
    `silent`.
    """
    path, last = data.root / target.file, frozenset(ids[-UNFOLDED:])
    if path == data.snapshot:
        return lambda damage: _ask_snapshot(damage, path)
    if path.suffix == ".parquet":
        part = _named(load_snapshot(data).days[date.fromisoformat(path.parent.name)], path)
        return lambda damage: _ask_part(damage, path, part)
    if path.name.startswith("active-"):
        return lambda damage: _ask_recovery(damage, data, path, last)
    data.spill.mkdir()
    return lambda damage: _ask_check(damage, data, path, last)


def _named(day: Day, path: Path) -> Part:
    parts = day.archive if path.parent.parent.name == "archive" else day.counters
    (part,) = [part for part in parts if part.generation == parse_part(path.name)]
    return part


def _ask_snapshot(damage: Damage, path: Path) -> str:
    try:
        decode_snapshot(damage.content, path)
    except SnapshotDamaged:
        return "detected"
    return "silent"


def _ask_part(damage: Damage, path: Path, part: Part) -> str:
    path.write_bytes(damage.content)
    return "detected" if part_error(path, part) else "silent"


def _ask_check(damage: Damage, data: DataDirectory, path: Path, ids: frozenset[str]) -> str:
    path.write_bytes(damage.content)
    checked = verify_segment(data, sealed_segments(data)[-1], data.spill)
    kept = _ids(checked.path)
    if not checked.damaged:
        return "harmless" if kept == ids else "silent"
    # What stands behind the damage in compressed data cannot be inflated, and may be
    # lost with it.
    as_it_should = kept <= ids if path.suffix in COMPRESSED_SUFFIXES else kept == ids - damage.hit
    return "detected" if as_it_should else "silent"


def _ask_recovery(damage: Damage, data: DataDirectory, path: Path, ids: frozenset[str]) -> str:
    """A file that ends with a whole line is what a writer leaves that died before the
    next one: nothing is to be said.
    """
    path.write_bytes(damage.content)
    found = recover(data, "0")
    kept: frozenset[str] = frozenset()
    if found is not None and found.sealed is not None:
        sealed = data.log / found.sealed.file
        kept = _ids(sealed)
        sealed.unlink()
    if kept != ids - damage.hit:
        return "silent"
    return "detected" if found is not None and found.quarantined else "harmless"


def _ids(path: Path) -> frozenset[str]:
    return frozenset(id_ for line in readable_lines(path) if (id_ := id_of(line)))


def try_one(target: Target, damage: Damage, ids: list[str], root: Path, outcome: Outcome) -> str:
    """Damage a copy, fold, verify, check. Returns `detected`, `harmless` or
    `silent`.
    """
    data = DataDirectory(Path(shutil.copytree(target.template, root / "run")))
    path = data.root / target.file
    original = path.read_bytes()
    path.write_bytes(damage.content)
    where = f"{target.name}, {damage.place}"
    try:
        detected = fold_and_verify(data, path, original)
        is_active = path.name.startswith("active-")
        expected = set(ids) - (damage.hit if detected or is_active else frozenset())
        if target.file.endswith(COMPRESSED_SUFFIXES) and detected:
            expected = set(ids[:-3])  # what stands behind the damage cannot be inflated, and may be lost with it
        if target.file.endswith(COMPRESSED_SUFFIXES):
            path.write_bytes(original)  # the oracle reads whole files only; the archive is checked here
        violations = find_violations(data.root, set(ids), expected, folded=True)
        outcome.add(violations, len(expected), where)
        if detected:
            return "detected"
        return "silent" if violations else "harmless"
    finally:
        shutil.rmtree(data.root)


def fold_and_verify(data: DataDirectory, path: Path, original: bytes) -> bool:
    """One pass and one verify; whether one of them said that something is damaged. A
    damaged part is then restored.
    """
    log = SilentLog()
    before = (data.snapshot.read_bytes(), len(list(data.root.glob("*/*/*.parquet"))))
    refused = False
    try:
        compact_once(data, settings_of(data), log)
    except PartDamaged:
        refused = True
    findings = verify(data, settings_of(data), lambda _step: None).findings
    named = any(
        finding.where.startswith(str(path.relative_to(data.root)).removesuffix(".sha256")) for finding in findings
    )
    if refused:
        if data.snapshot.read_bytes() != before[0] or not named:
            raise AssertionError(f"{path}: a pass that refused published something, or verify does not name the part")
        path.write_bytes(original)
        compact_once(data, settings_of(data), log)
    elif "/g" in path.as_posix() and named:
        path.write_bytes(original)
    return refused or named or _reports_damage(log)


def _reports_damage(log: SilentLog) -> bool:
    """Whether the operator's log has a warning, or names quarantined lines."""
    return bool(log.warnings) or any(fields.get("quarantined") for _, fields in log.entries)


def say_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--every", type=int, default=EVERY, help=f"how many damages a whole pass goes with (default: {EVERY})"
    )
    parser.add_argument("--first", type=int, default=0, help="which one of them the first pass goes with (default: 0)")
    given = parser.parse_args()
    command = "python -m tests.faults.damage" + (f" --every {given.every}" if given.every != EVERY else "")
    command += f" --first {given.first}" if given.first else ""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        root = Path(directory)
        outcome = Outcome("bits flipped, bytes cut and zeroed", command, file_system(root))
        targets, ids = make_targets(root)
        for target in targets:
            show_all(target, ids, root, outcome)
            pass_some(target, ids, root, outcome, given.first, given.every)
        outcome.seconds = time.monotonic() - started
    return outcome.say()


def show_all(target: Target, ids: list[str], root: Path, outcome: Outcome) -> None:
    """Every damage to the function that has to detect it."""
    data = DataDirectory(Path(shutil.copytree(target.template, root / "asked")))
    answer = ask(target, ids, data)
    said: Counter[str] = Counter()
    for number, damage in enumerate(target.damages((data.root / target.file).read_bytes())):
        if number % 1000 == 0:
            say_progress(f"{target.name}: {number:,} asked")
        said[found := answer(damage)] += 1
        if found == "silent":
            outcome.failures.append(f"{target.name}, {damage.place}: not reported")
    shutil.rmtree(data.root)
    outcome.points += said.total()
    say(target, "every damage", said)


def pass_some(target: Target, ids: list[str], root: Path, outcome: Outcome, first: int, every: int) -> None:
    """Every n-th damage, with a whole pass and a verify."""
    damages = list(target.damages((target.template / target.file).read_bytes()))[first::every]
    said: Counter[str] = Counter()
    for number, damage in enumerate(damages, 1):
        say_progress(f"{target.name}: pass {number} of {len(damages)}")
        said[try_one(target, damage, ids, root, outcome)] += 1
    say(target, f"every {every}th, with a whole pass", said)


def say(target: Target, what: str, said: Counter[str]) -> None:
    say_progress("")
    counts = ", ".join(f"{said[word]:,} {word}" for word in ("detected", "harmless", "silent"))
    print(f"{target.name}, {what}: {said.total():,} damages: {counts}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
