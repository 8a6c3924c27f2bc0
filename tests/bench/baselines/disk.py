"""The floor of the disk: the same bytes written one after the other to one file, with
an fdatasync for each group of bodies.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def write_seconds(path: Path, bodies: list[bytes], group: int) -> float:
    """Seconds until all are durable. A group is as many as there are connections: more
    cannot wait for the disk at once.

    Raises AssertionError when the file is not as long as the bodies.
    """
    groups = [b"".join(bodies[start : start + group]) for start in range(0, len(bodies), group)]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        started = time.perf_counter()
        for content in groups:
            os.write(descriptor, content)
            os.fdatasync(descriptor)
        seconds = time.perf_counter() - started
        written = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if written != sum(map(len, bodies)):
        raise AssertionError(f"{sum(map(len, bodies))} bytes were to be written, {written} are in the file")
    return seconds
