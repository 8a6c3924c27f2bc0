"""A compactor pass that is killed by SIGKILL before its n-th step that changes the disk (rename, unlink, link, fsync)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from foldlog.command import main

STEPS = ("rename", "unlink", "link", "fsync", "rmdir", "mkdir")


def run(steps: int) -> None:
    """Wrap the calls that make something durable, then fold once. Dies, or ends with the exit code of the command."""
    left = steps

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return counted

    for name in STEPS:
        setattr(os, name, counting(getattr(os, name)))
    raise SystemExit(main(["compact", "--once"]))
