"""The end of a reader process leaves no descriptor open, also in the middle of what it
writes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable

import pytest
import uvloop

from reports.reader import handle
from tests.builders.waiting import TIMEOUT_S, until_async

WRITES_ON = "import sys\nwhile True: sys.stdout.buffer.write(bytes(65536))"
# A stream stops reading when it holds twice as much: before the first block is taken.
LIMIT = 1024


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def leave_it_midway(program: str) -> None:
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=PIPE, stdout=PIPE, limit=LIMIT)
    assert reader.stdout
    await reader.stdout.read(1)
    await asyncio.wait_for(handle.kill(reader), TIMEOUT_S)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("program", [WRITES_ON, "print()"], ids=["killed", "ended"])
def test_process_that_is_killed_leaves_no_descriptor(
    loop: Callable[[], asyncio.AbstractEventLoop], program: str
) -> None:
    async def leave_some() -> None:
        await leave_it_midway(program)  # the first may make what the loop keeps
        before = descriptors()
        for _ in range(3):
            await leave_it_midway(program)
        await until_async(lambda: descriptors() <= before)

    gc.disable()  # it closes what was forgotten, at some time
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(leave_some())
    finally:
        gc.enable()
