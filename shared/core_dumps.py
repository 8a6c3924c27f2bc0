"""No process of the service leaves its memory on a disk, or lets another process of its
user read it: addresses, the salt, tokens and events of erased visitors may be in there.

A program that the kernel pipes dumps to gets them whatever the limit is, so a limit of
0 is not enough: the process is not dumpable. Files below /proc/<pid> that show memory,
environment and descriptors then belong to root. Root can still make a dump (`gcore`).
"""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """For this process. A child that runs another program has to ask for itself, but
    inherits the limit. Where the kernel has no such call, the limit is all.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError):
        return
