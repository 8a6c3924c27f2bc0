"""`python -m tests.bench.imports`: import and fold of an access log, against GoAccess
reading it. Wall seconds, runs alternate; the median of the ratios counts.

    python -m tests.bench.imports [--lines 200000] [--pairs 5] [--days 7 80]
    python -m tests.bench.imports --memory 10000000

The second form imports so many lines from a pipe, and prints the resident memory of the
import after each million.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from foldlog.terminal import Console, line
from tests.builders.server import environment

AGENTS = 300
PATHS = 2_000
_BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
)
_REFERRERS = ("-", "https://www.google.com/", "https://example.com/", "https://news.example.org/item?id=17")


class Run(NamedTuple):
    """Wall seconds of import and fold, of GoAccess, and all of their CPU seconds."""

    imported: float
    folded: float
    goaccess: float
    cpu: tuple[float, float, float]

    @property
    def ratio(self) -> float:
        return (self.imported + self.folded) / self.goaccess


def log_lines(lines: int, days: int, seed: int = 7) -> Iterator[str]:
    """Requests of as many clients, agents and paths as a busy site has."""
    pick = random.Random(seed)
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, step = end - timedelta(days=days), days * 86400 / lines
    agents = [_BROWSER.format(100 + n) for n in range(AGENTS)]
    for number in range(lines):
        at = start + timedelta(seconds=number * step)
        path = min(int(pick.paretovariate(0.7)), PATHS)
        address = f"{pick.randrange(1, 224)}.{pick.randrange(256)}.{pick.randrange(40)}.{pick.randrange(256)}"
        yield (
            f'{address} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET /blog/{path % 50}/article-{path} HTTP/1.1" '
            f'{pick.choice((200, 200, 200, 200, 304, 404))} {pick.randrange(100, 90_000)} "{pick.choice(_REFERRERS)}" '
            f'"{pick.choice(agents)}"\n'
        )


def _timed(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    cpu, wall = sum(os.times()[2:4]), time.monotonic()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - wall, sum(os.times()[2:4]) - cpu


def _run(log: Path, root: Path, *, goaccess_first: bool) -> Run:
    data = root / "data"
    environ = environment(data, sites="example.com")
    foldlog = [sys.executable, "-m", "foldlog"]
    reading = ["goaccess", str(log), "--log-format=COMBINED", "-o", str(root / "out.json"), "--no-progress"]
    theirs = _timed(reading, environ) if goaccess_first else (0.0, 0.0)
    imported = _timed([*foldlog, "import", str(log)], environ)
    folded = _timed([*foldlog, "compact", "--once"], environ)
    theirs = theirs if goaccess_first else _timed(reading, environ)
    shutil.rmtree(data)
    return Run(imported[0], folded[0], theirs[0], (imported[1], folded[1], theirs[1]))


def compare(lines: int, pairs: int, days: list[int], console: Console) -> None:
    line(console, "days  ratio (median)  import s  fold s  GoAccess s  CPU: import  fold  GoAccess")
    with tempfile.TemporaryDirectory() as folder:
        for span in days:
            log = Path(folder) / f"access-{span}.log"
            with log.open("w") as file:
                file.writelines(log_lines(lines, span))
            runs = [_run(log, Path(folder), goaccess_first=bool(number % 2)) for number in range(pairs)]
            middle = [statistics.median(column) for column in zip(*[each[:3] for each in runs], strict=True)]
            cpu = [statistics.median(column) for column in zip(*[each.cpu for each in runs], strict=True)]
            ratio = statistics.median([each.ratio for each in runs])
            line(
                console,
                f"{span:4}  {ratio:14.2f}  {middle[0]:8.2f}  {middle[1]:6.2f}  {middle[2]:10.2f}  "
                f"{cpu[0]:11.2f}  {cpu[1]:4.2f}  {cpu[2]:8.2f}",
            )


def measure_memory(lines: int, console: Console) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "foldlog", "import", "--format", "combined", "-"]
        environ = environment(Path(folder) / "data", sites="example.com")
        with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            assert child.stdin is not None
            for number, text in enumerate(log_lines(lines, 80), start=1):
                child.stdin.write(text.encode())
                if number % 1_000_000 == 0:
                    child.stdin.flush()
                    line(console, f"{number:,} lines: {_resident_mib(child.pid):.0f} MiB")
            child.stdin.close()


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.imports")
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--days", type=int, nargs="+", default=[7, 80])
    parser.add_argument("--memory", type=int, metavar="LINES", help="only the memory of an import of so many")
    given = parser.parse_args()
    console = Console()
    if given.memory:
        measure_memory(given.memory, console)
    else:
        compare(given.lines, given.pairs, given.days, console)


if __name__ == "__main__":
    main()
