"""A program that sends events with `foldlog.client`, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.builders.server import INGEST_KEY

# It prints each id once `track` has returned; `then` is what it does afterwards.
_SOURCE = """
import os, sys, time
from foldlog.client import Client, SpoolFull
url, key, spool, name, prefix, count = sys.argv[1:7]
client = Client(url, key, spool=spool, consent="granted", interval_s=0.01, exit_timeout_s=60)
for number in range(int(count)):
    print(client.track(name, id=f"{prefix}-{number:06d}", visitor="v-1"), flush=True)
"""


def start(url: str, spool: Path, name: str, prefix: str, count: int, then: str = "") -> subprocess.Popen[str]:
    """Start it. Its standard output has the ids that are acknowledged."""
    command = [sys.executable, "-c", _SOURCE + then, url, INGEST_KEY, str(spool), name, prefix, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
