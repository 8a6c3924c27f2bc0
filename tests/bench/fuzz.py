"""`make fuzz`: 1,000,000 fuzzed bodies, each through the path from body to lines and
then over HTTP to a real worker.

libFuzzer (atheris) makes the bodies of valid ones, led by which code they reach;
tests/bench/fuzz_target.py checks each in its own process and tests/bench/fuzz_post.py
posts it. It must then hold that

- every body was answered, none with a 5xx, and each as it was answered without HTTP;
- the worker is the process that it was, and its memory has not grown by 10 MiB since
  the first tenth;
- the log verifies, has exactly the events that were acknowledged, and each different
  one of them is counted once.

What is wrong is kept in a directory, which is named at the end. `make fuzz` installs
what it needs beside the rest: the extra `fuzz`, which is atheris.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import uvloop

from compactor.process import compact_once
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.sealed import open_segment, sealed_segments
from shared.settings import Settings
from tests.bench.fuzz_bodies import write_first
from tests.bench.fuzz_post import Tally, post_all
from tests.bench.processes import worker
from tests.builders.silent_log import SilentLog

GROWTH_MAX_MIB = 10.0
BODY_MAX_BYTES = 4 << 10
UNIT_S = 25
VERIFY_S = 600


def main() -> None:
    given = options()
    root = Path(tempfile.mkdtemp(prefix="bench-", dir="."))
    (root / "crashes").mkdir()
    write_first(root / "corpus")
    with (
        worker(root / "data", FOLDLOG_CONSENT="implied", FOLDLOG_LOG_FILE=str(root / "worker.log")) as (process, port),
        fuzzer(root, given) as fuzzing,
    ):
        tally = uvloop.run(post_all(fuzzing.stdout, port, process.pid, given.connections, given.max_seconds))
        failures = [] if process.poll() is None else ["the worker ended"]
    if fuzzing.wait():
        failures.append(f"the fuzzing process ended with {fuzzing.returncode}")
    failures += wrong_answers(tally, given.bodies) + wrong_memory(tally) + wrong_log(root / "data", tally)
    show("new code reached (libFuzzer's edges, features)", coverage(root))
    finish(root, tally, failures)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=48)
    parser.add_argument("--max-seconds", type=float, default=1_800)
    return parser.parse_args()


@contextmanager
def fuzzer(root: Path, given: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    """The fuzzing process, whose standard output are the bodies."""
    command = [
        *(
            sys.executable,
            "-m",
            "tests.bench.fuzz_target",
            str(given.bodies),
            f"-runs={given.bodies}",
            f"-seed={given.seed}",
        ),
        *(
            f"-max_len={BODY_MAX_BYTES}",
            f"-timeout={UNIT_S}",
            f"-artifact_prefix={root / 'crashes'}/",
            str(root / "corpus"),
        ),
    ]
    with (root / "fuzzer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        yield process
    finally:
        if sys.exc_info()[0] is not None:
            process.kill()
        process.wait()


def wrong_answers(tally: Tally, bodies: int) -> list[str]:
    """Show the answers. Returns what is wrong with them."""
    server_errors = sum(count for status, count in tally.statuses.items() if status >= 500)
    show("bodies posted and answered", f"{tally.answered:,}", f"{bodies:,}")
    for status, count in sorted(tally.statuses.items()):
        show(f"  {status}", f"{count:,}")
    show("5xx", f"{server_errors:,}", "0")
    show("connections: opened, lost without an answer", f"{tally.connections:,}, {tally.lost:,}", "0 lost")
    show("answered otherwise than without HTTP", f"{tally.differences:,}", "0")
    show("seconds, bodies/s", f"{tally.seconds:,.0f}, {tally.answered / tally.seconds:,.0f}")
    checks = {
        f"{tally.answered} bodies of {bodies} were answered": tally.answered == bodies,
        f"{server_errors} answers are 5xx": not server_errors,
        f"{tally.lost} connections were lost": not tally.lost,
        f"{tally.differences} answers differ": not tally.differences,
    }
    return [what for what, is_right in checks.items() if not is_right]


def wrong_memory(tally: Tally) -> list[str]:
    """Show the worker's memory. Returns what is wrong with it."""
    warm = next(mib for answered, mib in tally.resident if answered >= tally.answered // 10)
    later = [mib for answered, mib in tally.resident if answered >= tally.answered // 10]
    figures = " ".join(f"{mib:.1f}" for mib in (tally.resident[0][1], warm, later[-1], max(later)))
    show("worker's memory: before, after a tenth, at the end, highest", f"{figures} MiB")
    show("  each 50,000 bodies", " ".join(f"{mib:.0f}" for _, mib in tally.resident))
    growth = max(later) - warm
    show("  growth after the first tenth", f"{growth:.1f} MiB", f"under {GROWTH_MAX_MIB:g} MiB")
    return [] if growth < GROWTH_MAX_MIB else [f"memory grew by {growth:.1f} MiB"]


def wrong_log(root: Path, tally: Tally) -> list[str]:
    """Fold, count, verify, and show. Returns what is wrong with it."""
    data = DataDirectory(root)
    lines, different = count_lines(data)
    compact_once(data, Settings(data_dir=root), SilentLog())
    totals = load_snapshot(data).totals
    verified = subprocess.run(
        [sys.executable, "-m", "foldlog", "verify"],
        env={**os.environ, "FOLDLOG_DATA_DIR": str(root)},
        capture_output=True,
        timeout=VERIFY_S,
        check=False,
    )
    show(
        "events acknowledged, lines in the log, lines folded",
        f"{tally.accepted:,}, {lines:,}, {totals.lines:,}",
        "the same",
    )
    show("different events, counted", f"{different:,}, {totals.counted:,}", "the same")
    show("quarantined, damaged segments", f"{totals.quarantined}, {totals.damaged_segments}", "0, 0")
    show("foldlog verify", f"exit code {verified.returncode}", "exit code 0")
    checks = {
        f"{tally.accepted} events were acknowledged, {lines} are in the log": tally.accepted == lines == totals.lines,
        f"{different} events are different, {totals.counted} are counted": different == totals.counted,
        "lines were quarantined": not totals.quarantined and not totals.damaged_segments,
        f"verify:\n{verified.stdout.decode()}{verified.stderr.decode()}": verified.returncode == 0,
    }
    return [what for what, is_right in checks.items() if not is_right]


def count_lines(data: DataDirectory) -> tuple[int, int]:
    """Lines in the log, and how many different events they are: all are of one site."""
    lines, ids = 0, set()
    for segment in sealed_segments(data):
        with open_segment(segment.path) as file:
            for line in file:
                lines += 1
                ids.add(orjson.loads(line)["id"])
    return lines, len(ids)


def coverage(root: Path) -> str:
    found = re.findall(r"cov: (\d+) ft: (\d+)", (root / "fuzzer.log").read_text("utf-8", "replace"))
    return ", ".join(found[-1]) if found else "none"


def finish(root: Path, tally: Tally, failures: list[str]) -> None:
    """Leave nothing behind but what went wrong."""
    if not failures:
        shutil.rmtree(root)
        return
    for number, (what, sent) in enumerate(tally.kept):
        (root / f"kept-{number}").write_bytes(sent.body)
        print(f"{root}/kept-{number}: form {sent.form}, {what}\n  {sent.body[:200]!r}")
    sys.exit("\n".join([*failures, f"look at {root}: crashes/, kept-*, fuzzer.log, worker.log, data/"]))


def show(what: str, figure: str, target: str = "") -> None:
    print(f"{what:<64} {figure:>34}   {target}", flush=True)


if __name__ == "__main__":
    main()
