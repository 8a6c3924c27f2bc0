"""Ends a reader process as soon as its worker is gone, however that ended, also in the
middle of a question: nothing reads the answer, and the memory and the files of a
question belong to the request that asked.
"""

from __future__ import annotations

import os
import select
import sys
import threading

from shared import exit_codes


def end_with_worker() -> None:
    """Watch the pipes to the worker, in a thread."""
    threading.Thread(target=_watch, name="worker-watch", daemon=True).start()


def _watch() -> None:
    poll = select.poll()
    # Without events, poll tells only that the other side is closed.
    poll.register(sys.stdin.fileno(), 0)
    poll.register(sys.stdout.fileno(), 0)
    poll.poll()
    os._exit(exit_codes.TRY_AGAIN)  # no clean-up: a query of any length may run. Workers sweep the files.
