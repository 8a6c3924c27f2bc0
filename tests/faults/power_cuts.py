"""Power cuts on real file systems: what was acknowledged before the cut is there after
it, once, and nothing else is.

    python -m tests.faults.power_cuts --file-system ext4 --cuts 200
    python -m tests.faults.power_cuts --file-system xfs --cuts 5 --lie

With --lie fsync does nothing: it must find losses, or the programme is blind.

A cut: a server (most often tests/faults/small_server.py, every fifth time `foldlog
serve` over HTTP) is started on the disk, which recovers what the cut before left;
clients send with ledgers on another file system; at a random moment, which may be
before the server is up, the file system is shut down without a flush. Then the
processes are killed, the disk is mounted again, and the oracle looks: at what the disk
holds, and, most times, once more after a start that recovers and folds everything. The
other times the next server is started, and cut, on the raw remains.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from tests.builders.waiting import TIMEOUT_S
from tests.faults.file_systems import MAKERS, Disk, disk
from tests.faults.oracle import Ledger, Violations, acknowledged, find_violations, intended, read_directory
from tests.faults.outcome import Outcome

CUTS = 200
CUTS_PER_DISK = 10  # then a new one: the oracle reads everything again after each cut
EVERY_HTTP = 5
LOAD_MAX_S = 1.5
BEFORE_UP = 0.15  # the share of cuts that do not wait until the server is up
SETTLED = 0.7
RESTART_MAX_S = 5.0
KEY = "ingest-key-of-the-faults"
# A disk that says "stored" and has stored nothing: every sync of the server returns 0
# without being made.
LIE = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "inject=fsync,fdatasync,syncfs,sync:retval=0"]


@dataclass
class Place:
    """Where one disk's run happens: the data on the disk, the ledgers elsewhere."""

    disk: Disk
    ledgers: Path

    @property
    def data(self) -> Path:
        return self.disk.place / "data"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.power_cuts", description=__doc__.partition("\n")[0])
    parser.add_argument("--cuts", type=int, default=CUTS)
    parser.add_argument("--file-system", choices=sorted(MAKERS), default="ext4")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lie", action="store_true", help="syncs do nothing; exit code 0 if losses were found")
    given = parser.parse_args()
    outcome = run(given.file_system, given.cuts, given.seed, lie=given.lie)
    code = outcome.say()
    if given.lie:
        print("the lie was found" if outcome.lost else "BLIND: a disk that stores nothing was not found out")
        return 0 if outcome.lost else 1
    return code


def run(kind: str, cuts: int, seed: int, *, lie: bool = False) -> Outcome:
    """Cut the power so often; a new disk after each CUTS_PER_DISK."""
    command = (
        f"python -m tests.faults.power_cuts --file-system {kind} --cuts {cuts} --seed {seed}{' --lie' if lie else ''}"
    )
    outcome = Outcome("power cut" + (", syncs lie" if lie else ""), command, kind, str(seed))
    pick = random.Random(seed)
    started = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="power-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))  # noqa: S108
    try:
        with suppress(KeyboardInterrupt):  # the row then says how many there were
            for first in range(0, cuts, CUTS_PER_DISK):
                numbers = range(first, min(first + CUTS_PER_DISK, cuts))
                _cuts_of_one_disk(root / str(first), kind, numbers, pick, outcome, lie=lie)
    finally:
        shutil.rmtree(root)
    outcome.points = outcome.runs
    outcome.seconds = time.monotonic() - started
    return outcome


def _cuts_of_one_disk(
    directory: Path, kind: str, numbers: range, pick: random.Random, outcome: Outcome, *, lie: bool
) -> None:
    ledgers = directory / "ledgers"
    ledgers.mkdir(parents=True)
    generation = known = 0
    with disk(directory / "disk", kind) as made:
        place = Place(made, ledgers)
        for number in numbers:
            _cut(place, number, pick, lie=lie)
            answered = len(acknowledged(ledgers))
            where = f"cut {number} of {outcome.command}"
            restart_s = 0.0
            violations = _check(place, generation)
            if not violations and not lie and pick.random() < SETTLED:
                restart_s = _settle(place, where, outcome)
                violations = _check(place, generation, folded=True)
            outcome.add(violations, answered - known, where, restart_s)
            known, generation = answered, read_directory(place.data).generation
            print(
                f"\rcut {number + 1}, {outcome.acknowledged:,} acknowledged, {outcome.lost} lost",
                end="",
                file=sys.stderr,
            )
            if violations:
                return  # what is lost stays lost: another disk for the next cut
    print(file=sys.stderr)


def _check(place: Place, generation: int, *, folded: bool = False) -> Violations:
    return find_violations(
        place.data, intended(place.ledgers), acknowledged(place.ledgers), folded=folded, generation=generation
    )


def _cut(place: Place, number: int, pick: random.Random, *, lie: bool) -> None:
    """Load, cut, kill, mount again."""
    name = f"cut{number:05d}"
    load = _over_http if number % EVERY_HTTP == EVERY_HTTP - 1 and not lie else _small_server
    early = pick.random() < BEFORE_UP
    moment_s = pick.random() * (0.6 if early else LOAD_MAX_S)
    with load(place, name, wait=not early, prefix=LIE if lie else []):
        time.sleep(moment_s)
        acked = {path: path.stat().st_size for path in place.ledgers.glob("*.acknowledged")}
        place.disk.cut_power()
    _forget_what_was_said_after(acked, place.ledgers)
    place.disk.give_power()


def _forget_what_was_said_after(acked: dict[Path, int], ledgers: Path) -> None:
    """With real power no process was left at that moment that could have answered (see
    Disk.cut_power).
    """
    for path in ledgers.glob("*.acknowledged"):
        os.truncate(path, acked.get(path, 0))


@contextmanager
def _small_server(place: Place, name: str, *, wait: bool, prefix: list[str]) -> Iterator[None]:
    command = [*prefix, sys.executable, "-m", "tests.faults.small_server", str(place.data), str(place.ledgers), name]
    with _group(command, dict(os.environ)) as process:
        if wait and process.stdout is not None and process.stdout.readline() != b"up\n":
            raise AssertionError(f"the server did not start again before {name}")
        yield


@contextmanager
def _over_http(place: Place, name: str, *, wait: bool, prefix: list[str]) -> Iterator[None]:
    with socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    given = {
        "DATA_DIR": place.data,
        "LISTEN": f"127.0.0.1:{port}",
        "INGEST_KEYS": KEY,
        "WORKERS": 2,
        "SEGMENT_MAX_BYTES": 64 << 10,
        "SEGMENT_MAX_AGE": 1,
        "FOLD_INTERVAL": 1,
        "DISK_RESERVE": 0,
        "RATE_LIMIT": 0,
        "RATE_LIMIT_EVENTS": 0,
        "RATE_LIMIT_BYTES": 0,
        "SITES": "example.com",  # as in tests/faults/small_server.py: an id counts once a site
    }
    environ = os.environ | {f"FOLDLOG_{key}": str(value) for key, value in given.items()}
    stop = threading.Event()
    first = threading.Event()
    clients = [
        threading.Thread(target=_http_client, args=(port, place.ledgers, f"{name}-{number}", stop, first))
        for number in range(3)
    ]
    with _group([*prefix, sys.executable, "-m", "foldlog", "serve"], environ):
        for client in clients:
            client.start()
        try:
            if wait and not first.wait(TIMEOUT_S):
                raise AssertionError(f"`foldlog serve` did not start again before {name}")
            yield
        finally:
            stop.set()
    for client in clients:
        client.join()


def _http_client(port: int, ledgers: Path, name: str, stop: threading.Event, first: threading.Event) -> None:
    """Send batches of three on one connection for as long as there is one; every batch
    again until it is answered.
    """
    ledger = Ledger(ledgers, name)
    number = 0
    while not stop.is_set():
        number += 1
        ids = [f"{name}-{number:06d}-{part}" for part in range(3)]
        ledger.intend(ids)
        while not stop.is_set():
            if _post(port, ids):
                ledger.acknowledge(ids)
                first.set()
                break
            time.sleep(0.02)
    ledger.close()


def _post(port: int, ids: list[str]) -> bool:
    events = [{"name": "pageview", "id": id_, "visitor": "visitor-1"} for id_ in ids]
    body = json.dumps({"events": events, "consent": "granted"})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(
            "POST", "/v1/events", body, {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        )
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def _group(command: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process and all that it starts, killed at the end of the block as the power
    takes them: at once.
    """
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _settle(place: Place, where: str, outcome: Outcome) -> float:
    """Restart without help. Returns the seconds from the start until
    everything is recovered and folded.
    """
    started, used_before = time.monotonic(), _used_by_children()
    command = [sys.executable, "-m", "tests.faults.small_server", str(place.data), str(place.ledgers), "settle"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S * 2)
    restart_s = time.monotonic() - started
    if done.returncode:
        outcome.failures.append(f"{where}: the next start failed: {done.stderr[-2000:]}")
    used_s = _used_by_children() - used_before
    if used_s > RESTART_MAX_S:
        outcome.failures.append(f"{where}: the next start took {used_s:.1f} s of a processor")
    return restart_s


def _used_by_children() -> float:
    """Seconds of a processor: what a start takes, whatever else the machine has to
    do.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
