"""Where an attack takes place: one `foldlog serve` of a checkout with the product's own
defaults, in a fresh directory, and what it costs, read from outside.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shared.disk.layout import DataDirectory
from tests.bench.checkout import Checkout, cpu_seconds, end, family
from tests.bench.processes import ADMIN_TOKEN, START_S, free_port
from tests.builders.server import lines_of

ATTACKER = "127.0.0.2"
OPERATOR = "127.0.0.9"
INGEST_KEY = "ingest-key-of-the-red-team"
SAMPLE_S = 0.1
PASS_S = 120.0


class Ground:
    """A running server, and the operator's view of it."""

    def __init__(self, checkout: Checkout, root: Path, settings: Mapping[str, str]) -> None:
        self.checkout, self.root, self.data = checkout, root, root / "data"
        self.port = free_port()
        self.environ = _environ(checkout, self.data, self.port, settings)
        self.log_file = root / "serve.log"
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                checkout.command("serve"), cwd=root, env=self.environ, stdout=output, stderr=output
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("/readyz")[0] == 200:
                    return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"foldlog serve did not start: {self.log_file.read_text()[-2000:]}")
            time.sleep(0.05)

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        source: str = OPERATOR,
        timeout_s: float = START_S,
        **headers: str,
    ) -> tuple[int, bytes]:
        """(status, body). With the admin token unless `Authorization` is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s, source_address=(source, 0))
        named = {"Authorization": f"Bearer {ADMIN_TOKEN}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            connection.request(method, path, body, {name: value for name, value in named.items() if value})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, events: list[dict[str, Any]], source: str = ATTACKER, **headers: str) -> int:
        """The status of one batch, as a page of this host sends it unless headers say
        otherwise.
        """
        host = f"127.0.0.1:{self.port}"
        page = {"Origin": f"http://{host}", "Content_Type": "application/json", "Authorization": ""}
        body = json.dumps({"events": events}).encode()
        given = {"Foldlog_Consent": "granted"} | page | headers
        return self.ask("/v1/events", "POST", body, source, START_S, **given)[0]

    def fold(self, within_s: float = PASS_S) -> bool:
        """Seal and fold. Returns whether a pass ended in time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("/admin/api/fold", "POST", b"", timeout_s=within_s)[0] == 200:
                    return True
            time.sleep(0.2)
        return False

    def command(self, *words: str, timeout_s: float = PASS_S) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.checkout.command(*words),
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )

    def processes(self) -> list[int]:
        with suppress(OSError):
            return family(self.process.pid)
        return self.processes()  # one of them ended meanwhile

    def cpu_seconds(self) -> float:
        for _ in range(20):
            with suppress(OSError):
                return cpu_seconds(family(self.process.pid))
        raise RuntimeError("the processes of the server come and go too quickly")

    def compactor_cpu_s(self) -> float:
        """Of the process that folds."""
        for pid in self.processes():
            with suppress(OSError):
                if b"\0compact\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return time.clock_gettime((~pid << 3) | 2)
        return 0.0

    def resident_mib(self) -> float:
        return sum(_resident_mib(pid) for pid in self.processes())

    def log_bytes(self) -> int:
        return sum(path.stat().st_size for path in (self.data / "log").iterdir() if path.is_file())

    def lines(self) -> list[dict[str, Any]]:
        return lines_of(DataDirectory(self.data))

    def totals(self) -> dict[str, int]:
        """What the snapshot has counted."""
        found: dict[str, int] = json.loads(self.ask("/admin/api/snapshot")[1])["totals"]
        return found


@contextmanager
def ground(checkout: Checkout, root: Path, settings: Mapping[str, str] | None = None) -> Iterator[Ground]:
    """A server from its first readiness to its end."""
    root.mkdir(parents=True)
    made = Ground(checkout, root, settings or {})
    try:
        made.wait_until_ready()
        yield made
    finally:
        end(made.process)


class Sampler:
    """The most memory and processes while the block runs."""

    def __init__(self, watched: Ground) -> None:
        self._ground, self._ended = watched, threading.Event()
        self.most_mib, self.most_processes = 0.0, 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most_mib = max(self.most_mib, self._ground.resident_mib())
            self.most_processes = max(self.most_processes, len(self._ground.processes()))
            if self._ended.wait(SAMPLE_S):
                return


def _environ(checkout: Checkout, data: Path, port: int, settings: Mapping[str, str]) -> dict[str, str]:
    return checkout.environ_of_defaults(data, port) | {
        "FOLDLOG_INGEST_KEYS": INGEST_KEY,
        "FOLDLOG_DISK_RESERVE": "0",
        **settings,
    }


def _resident_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii")
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0  # it has ended
