"""`make bench ARGS="--against PATH"`: what this checkout costs, as a ratio to another.

Both are used by their public interface only, the command and HTTP, so that the other
one may be laid out in any way. Each figure is taken in pairs whose order alternates;
the median of the ratios counts, because machines differ and so do their hours. Figures
are CPU seconds of all processes concerned, and resident memory.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench import fold
from tests.bench.processes import ADMIN_TOKEN, CLOCK_TICKS, START_S, STOP_S, free_port, load

HEAD = "| what | this | the other | ratio |\n|---|---|---|---|"
FOLD_EVENTS = 100_000
SINGLE_REQUESTS = 5_000
BATCH_REQUESTS = 3_000
BATCH_EVENTS = 100
CONNECTIONS = 16
REPORTS = ("", "&by=path", "&by=path&interval=hour", "&by=country&filter=event==signup", "&by=event&interval=day")


class Checkout(NamedTuple):
    """A source tree, and the interpreter that runs it: its own, or this one."""

    root: Path

    def command(self, *words: str) -> list[str]:
        own = self.root / ".venv" / "bin" / "python"
        return [str(own) if own.exists() else sys.executable, "-m", "foldlog", *words]

    def environ(self, data: Path, port: int = 8080) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FOLDLOG_")}
        return inherited | {
            "PYTHONPATH": str(self.root),
            "FOLDLOG_DATA_DIR": str(data),
            "FOLDLOG_LISTEN": f"127.0.0.1:{port}",
            "FOLDLOG_ADMIN_TOKEN": ADMIN_TOKEN,
            "FOLDLOG_RATE_LIMIT": "1000000000",
            "FOLDLOG_FOLD_INTERVAL": "3600",
            "FOLDLOG_LOG_RETENTION_DAYS": "36500",
            "FOLDLOG_ARCHIVE_RETENTION_DAYS": "36500",
        }


Costs = dict[str, float]
Part = Callable[[Checkout, Path], Costs]


def compare(other: Path, parts: list[str], pairs: int, root: Path) -> None:
    """Prints a line of the table for each figure of these parts."""
    both = (Checkout(Path(__file__).resolve().parents[2]), Checkout(other.resolve()))
    print(HEAD, flush=True)
    for name in parts:
        taken: tuple[list[Costs], list[Costs]] = ([], [])
        for number in range(pairs):
            for which in (0, 1) if number % 2 else (1, 0):
                place = root / f"{name}-{number}-{which}"
                place.mkdir()
                taken[which].append(PARTS[name](both[which], place))
                shutil.rmtree(place)
        print(*rows(*taken), sep="\n", flush=True)


def rows(ours: list[Costs], theirs: list[Costs]) -> Iterator[str]:
    for what in ours[0]:
        pairs = [(one[what], two[what]) for one, two in zip(ours, theirs, strict=True)]
        ratio = statistics.median(one / max(two, 1 / CLOCK_TICKS) for one, two in pairs)
        mine, others = (statistics.median(values) for values in zip(*pairs, strict=True))
        yield f"| {what} | {mine:.2f} | {others:.2f} | {ratio:.3f} (of {len(pairs)}) |"


def commands(checkout: Checkout, root: Path) -> Costs:
    """The cost of a command that does nothing."""
    typed = {"foldlog --version": 0, "foldlog --help": 0, "foldlog srve": 2}
    return {
        f"`{words}`: CPU s": run(checkout, root / "data", words.split()[1:], exit_code)
        for words, exit_code in typed.items()
    }


def run(checkout: Checkout, data: Path, words: list[str], exit_code: int = 0) -> float:
    """CPU seconds of a command and of the children that it waited for. Raises
    AssertionError when it ends otherwise.
    """
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        checkout.command(*words), cwd=data.parent, env=checkout.environ(data), stdout=silent, stderr=silent
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != exit_code:
        raise AssertionError(f"{words} of {checkout.root} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


@contextmanager
def started(checkout: Checkout, data: Path, path: str, *words: str) -> Iterator[tuple[int, int]]:
    """(process id, port) of a service, from its first 200 to a path until SIGTERM."""
    port = free_port()
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        checkout.command(*words), cwd=data.parent, env=checkout.environ(data, port), stdout=silent, stderr=silent
    )
    try:
        deadline = time.monotonic() + START_S
        while not answers(port, path):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{words} of {checkout.root} did not start")
            time.sleep(0.02)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)


def answers(port: int, path: str) -> bool:
    try:
        ask(port, path)
    except OSError:
        return False
    return True


def ask(port: int, path: str) -> bytes:
    """Raises OSError unless the answer is 200."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    with urllib.request.urlopen(asked, timeout=START_S) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(below for child in children for below in family(int(child)))]


def cpu_seconds(pids: list[int]) -> float:
    """User and system time, with that of children that have ended."""
    stats = [Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split() for pid in pids]
    return sum(int(field) for stat in stats for field in stat[11:15]) / CLOCK_TICKS


def resident_mib(pids: list[int]) -> float:
    texts = [Path(f"/proc/{pid}/status").read_text("ascii") for pid in pids]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in texts) / 1024


def start(checkout: Checkout, root: Path) -> Costs:
    with started(checkout, root / "data", "/readyz", "serve") as (pid, port):
        ready_s, ready_mib = cpu_seconds(family(pid)), resident_mib(family(pid))
        ask(port, "/admin/api/report?from=2026-11-22&to=2026-11-22")
        return {
            "`foldlog serve` until /readyz is 200: CPU s": ready_s,
            "… resident, MiB": ready_mib,
            "… resident after a report, MiB": resident_mib(family(pid)),
        }


def single(checkout: Checkout, root: Path) -> Costs:
    return {f"{SINGLE_REQUESTS:,} single events: CPU s": loaded(checkout, root, SINGLE_REQUESTS, 1)}


def batches(checkout: Checkout, root: Path) -> Costs:
    what = f"{BATCH_REQUESTS:,} batches of {BATCH_EVENTS}: CPU s"
    return {what: loaded(checkout, root, BATCH_REQUESTS, BATCH_EVENTS)}


def loaded(checkout: Checkout, root: Path, requests: int, events: int) -> float:
    """CPU seconds of one worker for a load, once it is warm."""
    with started(checkout, root / "data", "/healthz", "ingest") as (pid, port):
        load(port, requests // 5, events, CONNECTIONS, 1)
        before = cpu_seconds([pid])
        load(port, requests, events, CONNECTIONS, 2)
        return cpu_seconds([pid]) - before


def folding(checkout: Checkout, root: Path) -> Costs:
    fold.write_segments(fold.fresh(root / "data"), FOLD_EVENTS, fold.DAY)
    return {f"fold of {FOLD_EVENTS:,} events: CPU s": run(checkout, root / "data", ["compact", "--once"])}


def reports(checkout: Checkout, root: Path) -> Costs:
    fold.write_segments(fold.fresh(root / "data"), FOLD_EVENTS, fold.DAY)
    run(checkout, root / "data", ["compact", "--once"])
    day = fold.DAY.date().isoformat()
    with started(checkout, root / "data", "/readyz", "serve") as (pid, port):
        ask(port, f"/admin/api/report?from={day}&to={day}")
        before = cpu_seconds(family(pid))
        for limit in range(20, 24):  # another question each time: an answer is kept
            for report in REPORTS:
                ask(port, f"/admin/api/report?from={day}&to={day}&limit={limit}{report}")
        return {f"{4 * len(REPORTS)} reports over HTTP: CPU s": cpu_seconds(family(pid)) - before}


PARTS: dict[str, Part] = {
    "commands": commands,
    "start": start,
    "single": single,
    "batches": batches,
    "fold": folding,
    "reports": reports,
}
