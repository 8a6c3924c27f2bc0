"""Start and end the processes that are measured, and read what they cost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foldlog.load.plan import AGENT
from foldlog.load.target import Target

START_S = 60.0  # on a machine that has much else to do
STOP_S = 60.0
ADMIN_TOKEN = "admin-token-of-the-benchmarks"  # noqa: S105
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A server from its first answer to /healthz until SIGTERM."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, env={**os.environ, **(environ or {})}, stdout=silent, stderr=silent)
    try:
        _wait_until_up(process, port)
        yield process
    finally:
        process.terminate()
        process.wait(STOP_S)


@contextmanager
def worker(data: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """One durable ingest worker with the gate on. The rate limit counts every request,
    and is never reached.
    """
    port = free_port()
    environ = {
        "FOLDLOG_DATA_DIR": str(data),
        "FOLDLOG_LISTEN": f"127.0.0.1:{port}",
        "FOLDLOG_RATE_LIMIT": "1000000000",
        "FOLDLOG_RATE_LIMIT_EVENTS": "1000000000",
        "FOLDLOG_RATE_LIMIT_BYTES": "1000000000000",
        "FOLDLOG_MAX_CONNECTIONS_PER_ADDRESS": "0",
        **settings,
    }
    with running([sys.executable, "-m", "foldlog", "ingest"], port, environ) as process:
        yield process, port


@contextmanager
def serving(data: Path, **settings: str) -> Iterator[Target]:
    """`foldlog serve` as in production: default workers, durable, gate on, compactor,
    behind a proxy.

    A load of it is that of pages: the proxy says who the client is, and the rate limit
    counts each.
    """
    port = free_port()
    environ = {
        "FOLDLOG_DATA_DIR": str(data),
        "FOLDLOG_LISTEN": f"127.0.0.1:{port}",
        "FOLDLOG_TRUSTED_PROXIES": "127.0.0.1",
        "FOLDLOG_ADMIN_TOKEN": ADMIN_TOKEN,
        "FOLDLOG_RATE_LIMIT_TOKEN": "0",
        **settings,
    }
    with running([sys.executable, "-m", "foldlog", "serve"], port, environ) as process:
        head = (
            f"Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n"
            f"User-Agent: {AGENT}\r\nAccept-Language: de-DE,de;q=0.9\r\n"
        )
        yield Target(host="127.0.0.1", port=port, headers=head, token=ADMIN_TOKEN, server_pid=process.pid)


@contextmanager
def null_handler() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    with running([sys.executable, "-m", "tests.bench.baselines.null_handler", str(port)], port) as process:
        yield process, port


def load(port: int, requests: int, events: int, connections: int, seed: int) -> dict[str, Any]:
    """Run the load generator. Raises AssertionError unless every request was answered
    with 200.
    """
    options = {"port": port, "requests": requests, "events": events, "connections": connections, "seed": seed}
    command = [sys.executable, "-m", "tests.bench.load", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["statuses"] != {"200": requests}:
        raise AssertionError(f"not every request was answered with 200: {result['statuses']}")
    return result


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not start")
