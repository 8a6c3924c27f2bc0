"""A disk whose writes really fail: writing back meets an error, the pages are dropped,
a later fsync succeeds all the same.

    python -m tests.faults.bad_disk --runs 50

The disk is an ext4 in an image on a tmpfs that has no room for all of it. A server
takes events until its writer gives up, again and again as a supervisor would start it
(fdatasync says ENOSPC or EIO, as the kernel likes). Then the tmpfs gets room, the file
system is checked as after a crash (`e2fsck -fy`) and mounted, and a start without
faults must find every event that was acknowledged.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.faults.file_systems import need, overcommitted_ext4, run_any, unmount
from tests.faults.oracle import acknowledged, find_violations, intended
from tests.faults.outcome import Outcome
from tests.faults.small_server import GAVE_UP

RUNS = 50
SIZE_MB = 64
ROOM_MB = 24
LEAST_FREE = 64 << 10
MORE_FREE = 512 << 10
STARTS = 3
FAILS_WITHIN_S = 40.0
AGAIN_S = 1.5
REFUSED = 40  # more than may be under way


def one_run(directory: Path, seed: int, outcome: Outcome) -> None:
    """Fill until it fails, mend the disk, start, check."""
    pick = random.Random(seed)
    ledgers = directory / "ledgers"
    ledgers.mkdir(parents=True)
    where = f"seed {seed} of {outcome.command}"
    with overcommitted_ext4(directory / "disk", SIZE_MB, ROOM_MB) as place:
        ballast = place.parent / "room" / "ballast"
        _fill(ballast, LEAST_FREE + pick.randrange(MORE_FREE))
        if not _serve(place / "data", ledgers, "start0", FAILS_WITHIN_S):
            outcome.failures.append(f"{where}: nothing failed; this run shows nothing")
        for number in range(1, STARTS):
            _serve(place / "data", ledgers, f"start{number}", AGAIN_S)
        ballast.unlink()
        unmount(place)
        run_any("e2fsck", "-fy", place.parent / "room" / "disk.img")  # its exit code says what it mended
        subprocess.run(["mount", "-o", "loop", str(place.parent / "room" / "disk.img"), str(place)], check=True)  # noqa: S607
        started = time.monotonic()
        command = [sys.executable, "-m", "tests.faults.small_server", str(place / "data"), str(ledgers), "settle"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        restart_s = time.monotonic() - started
        if done.returncode:
            outcome.failures.append(f"{where}: the next start failed: {done.stderr[-1000:]}")
        answered = acknowledged(ledgers)
        outcome.add(
            find_violations(place / "data", intended(ledgers), answered, folded=True), len(answered), where, restart_s
        )


def _fill(ballast: Path, free_bytes: int) -> None:
    """Leave so much room to what the image may still grow by."""
    os.sync()
    room = os.statvfs(ballast.parent)
    ballast.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - free_bytes)))


def _serve(data: Path, ledgers: Path, name: str, within_s: float) -> bool:
    """A server until its writer gives up or refuses, or for so long. Returns whether it
    did.
    """
    command = [sys.executable, "-m", "tests.faults.small_server", str(data), str(ledgers), name]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    refused_before = _refused(ledgers)
    deadline = time.monotonic() + within_s
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if _refused(ledgers) > refused_before + REFUSED:
                return True
            time.sleep(0.1)
        return process.returncode == GAVE_UP
    finally:
        process.kill()
        process.wait()


def _refused(ledgers: Path) -> int:
    return len(intended(ledgers)) - len(acknowledged(ledgers))


def run(directory: Path, runs: int, seed: int) -> Outcome:
    """So many disks."""
    need("e2fsck", "mkfs.ext4")
    command = f"python -m tests.faults.bad_disk --runs {runs} --seed {seed}"
    outcome = Outcome("write-back fails", command, "ext4", str(seed))
    started = time.monotonic()
    with suppress(KeyboardInterrupt):  # the row then says how many there were
        for number in range(runs):
            one_run(directory / str(number), seed * 1_000 + number, outcome)
            print(f"\r{number + 1} of {runs}, {len(outcome.failures)} failures", end="", file=sys.stderr)
    print(file=sys.stderr)
    outcome.points = outcome.runs
    outcome.seconds = time.monotonic() - started
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.bad_disk", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bad-disk-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as root:  # noqa: S108
        return run(Path(root), given.runs, given.seed).say()


if __name__ == "__main__":
    raise SystemExit(main())
