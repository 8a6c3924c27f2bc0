"""Reading a small file that people may edit or replace: nothing that stands in its
place may stop a process, or fill its memory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_bounded(path: Path, max_bytes: int) -> bytes | None:
    """The bytes of a file; None if there is none. Raises OSError, also for what is no
    file, and for more than `max_bytes`.
    """
    try:
        # A pipe in its place must not stop a worker, nor a link lead it elsewhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise OSError(f"it is larger than {max_bytes} bytes")
    return content
