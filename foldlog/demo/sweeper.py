"""Removes the directory of a demo once the demo has ended, however it ended: a process
of its own, which no Ctrl-C and no hangup of the terminal reaches.

It waits for the end of its standard input, which only the demo holds open, and then for
the processes that the demo started, which end by themselves.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "foldlog-demo-"
END_S = 60.0
_POLL_S = 0.1
_AGAIN = 50


def main(directory: str) -> int:
    """Returns 1 where something is left."""
    if not os.path.basename(directory).startswith(PREFIX):
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline and users_of(directory):
        time.sleep(_POLL_S)
    for _ in range(_AGAIN):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory):
            return 0
        time.sleep(_POLL_S)  # a reader process makes files until it sees that its worker has ended
    return 1


def users_of(directory: str) -> list[int]:
    """The other processes with a path below the directory in their command."""
    wanted, found = f"{directory}/".encode(), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if wanted in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
