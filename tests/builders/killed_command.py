"""A `foldlog` command whose process kills itself at a step: before the n-th rename,
link or removal of a file, or statement to PostgreSQL.

    python -m tests.builders.killed_command STEP ARGUMENT...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

STEPS = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir"})


def killed_at_each(arguments: list[str], environ: Mapping[str, str], stride: int) -> int:
    """Run a command until it ends, killed at ever later steps. Returns how often it
    was.
    """
    kills = 0
    while True:
        step = str(1 + kills * stride)
        command = [sys.executable, "-m", "tests.builders.killed_command", step, *arguments]
        done = subprocess.run(command, env={**environ}, capture_output=True, text=True, check=False)
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stderr
            return kills
        kills += 1


def main(left: int, arguments: list[str]) -> int:
    import psycopg

    from foldlog.cli import main as foldlog

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    execute = psycopg.Connection.execute

    def counted(*given: Any, **named: Any) -> Any:
        step()
        return execute(*given, **named)

    psycopg.Connection.execute = counted  # type: ignore[method-assign]
    sys.addaudithook(lambda event, _: step() if event in STEPS else None)
    return foldlog(arguments)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
