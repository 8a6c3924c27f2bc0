"""A guard that outlives the tests: it ends a server and removes its folders, also when
the process of the tests is killed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.builders.waiting import TIMEOUT_S

# Its input ends with the context, and with the process of the tests. Each line is the
# process id of the server that runs, or empty while there is none.
_GUARD = """
while read -r said; do pid=$said; done
if [ -n "$pid" ]; then kill -QUIT "$pid"; kill -CONT "$pid"; fi
tries=100
until rm -rf -- "$@" || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done
"""


@contextmanager
def guarded(*folders: Path) -> Iterator[Callable[[int | None], None]]:
    """Remove the folders afterwards. Gives what tells the guard which process to end
    first, by SIGQUIT; None for none.

    A thread may start that process and end, which PR_SET_PDEATHSIG takes for the end of
    the tests.
    """
    # A session of its own: an interrupt of the tests is not the guard's.
    command = ["sh", "-c", _GUARD, "guard", *map(str, folders)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    assert guard.stdin is not None
    told = guard.stdin

    def tell(pid: int | None) -> None:
        told.write(f"{pid or ''}\n".encode())
        told.flush()

    try:
        yield tell
    finally:
        told.close()
        guard.wait(TIMEOUT_S)
