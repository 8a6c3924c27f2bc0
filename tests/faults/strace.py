"""SIGKILL before a chosen system call of a chosen thread of a real process.

A child is forked and waits. strace attaches to one of its threads, and only then the
child begins: nothing of what came before (the interpreter's start, imports) is counted.
strace counts the calls of each name for each thread by itself, so the third `write` of
the writer's thread is the same call in every run. The signal is delivered on the way
into the kernel, and the call is not made any more.

OTHERS are the threads that come into being later, such as those of DuckDB. Nobody can
attach to them beforehand, so strace follows all threads, and its report shows whose
call it was that did not come about.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

START_S = 20.0
ENDING_S = 40.0
KILLED = -signal.SIGKILL
ELSEWHERE = 1
FAILED = 70
HUNG = 71

MAIN = "main"
OTHERS = "others"

_BEGIN = signal.SIGUSR1
_CALL = re.compile(r"(?:(\d+) +)?([a-z_0-9]+)\(")


class CannotTrace(Exception):
    """strace is not here, or may not attach."""


def is_there() -> bool:
    """Whether strace is installed."""
    return shutil.which("strace") is not None


@dataclass(frozen=True)
class Gate:
    """What a child holds: one of its threads is to be traced, and waits here until it
    is.
    """

    thread: str
    announce: int

    def wait(self, thread: str) -> None:
        """To be called by each thread that could be traced, before its first call that
        counts.
        """
        if thread != (MAIN if self.thread == OTHERS else self.thread):
            return
        os.write(self.announce, threading.get_native_id().to_bytes(8, "little"))
        if signal.sigtimedwait({_BEGIN}, START_S) is None:
            os._exit(HUNG)


Play = Callable[[Gate], None]


def count_calls(play: Play, thread: str, report: Path) -> Counter[str]:
    """How often a thread makes each system call when it is left alone; of OTHERS, the
    one that makes it most often.
    """
    code, traced = _run(play, thread, report, [])
    if code:
        raise CannotTrace(f"the scene ended with {code} though it was not killed")
    most: Counter[str] = Counter()
    for (owner, call), number in _calls(report, traced).items():
        if (owner != traced) == (thread == OTHERS):
            most[call] = max(most[call], number)
    del most["rt_sigtimedwait"]  # of the gate
    return most


def kill_before(play: Play, thread: str, call: str, number: int, report: Path) -> int:
    """Run a child and kill it before the `number`-th `call` of a thread.

    Returns KILLED, ELSEWHERE when another thread came to such a call first, or the exit
    code: the call did not come.
    """
    code, traced = _run(play, thread, report, [f"--trace={call}", f"--inject={call}:signal=KILL:when={number}"])
    if code == KILLED and thread == OTHERS and _calls(report, traced)[traced, call] >= number:
        return ELSEWHERE
    return code


def _calls(report: Path, traced: int) -> Counter[tuple[int, str]]:
    """Calls by thread and name. Where strace follows one thread only, its report does
    not name it.
    """
    found = (_CALL.match(line) for line in report.read_text("utf-8", "replace").splitlines())
    return Counter((int(call[1] or traced), call[2]) for call in found if call)


def run_alone(play: Callable[[], None], said: Path) -> int:
    """Run a child to its end without strace. Returns its exit code; what went wrong
    stands in the file `said`.
    """
    pid = os.fork()
    if pid == 0:
        _become(play, said)
    return _ending(pid)


def _run(play: Play, thread: str, report: Path, arguments: list[str]) -> tuple[int, int]:
    """How a child ended, and the id of the thread that strace attached to."""
    heard, announce = os.pipe()
    # Blocked before the fork, so that every thread of the child has it blocked and only
    # the one that waits takes it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {_BEGIN})
    pid = os.fork()
    if pid == 0:
        os.close(heard)
        _become(lambda: play(Gate(thread, announce)))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(announce)
    tracer = None
    try:
        traced = _thread_at_gate(heard)
        tracer = _attach(traced, [*arguments, *(["--follow-forks"] if thread == OTHERS else [])], report)
        os.kill(pid, _BEGIN)
        return _ending(pid), traced
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(heard)
        if tracer is not None:
            tracer.wait(START_S)
            if tracer.stderr:
                tracer.stderr.close()


def _thread_at_gate(heard: int) -> int:
    if not select.select([heard], [], [], START_S)[0] or len(word := os.read(heard, 8)) != 8:
        raise CannotTrace("the thread that was to be traced did not begin")
    return int.from_bytes(word, "little")


def _attach(traced: int, arguments: list[str], report: Path) -> subprocess.Popen[str]:
    try:
        command = ["strace", *arguments, "-o", str(report), "-p", str(traced)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise CannotTrace("strace is not installed") from None
    said = tracer.stderr.readline() if tracer.stderr else ""
    if "attached" not in said:
        tracer.kill()
        tracer.wait()
        raise CannotTrace(said.strip())
    return tracer


def _become(play: Callable[[], None], said: Path | None = None) -> None:
    """Be the child. Never returns: what the parent would do at its exit is not the
    child's to do.
    """
    code = FAILED
    try:
        play()
        code = 0
    except BaseException:  # noqa: BLE001  a child must not return into the parent's code
        if said is not None:
            said.write_text(traceback.format_exc(), "utf-8")
        else:
            traceback.print_exc()
    finally:
        os._exit(code)


def _ending(pid: int) -> int:
    """The exit code of a child, negative for a signal. One that hangs is killed, and
    ends with HUNG.
    """
    descriptor = os.pidfd_open(pid)
    try:
        ended = bool(select.select([descriptor], [], [], ENDING_S)[0])
    finally:
        os.close(descriptor)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if ended else HUNG
