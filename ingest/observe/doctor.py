"""What `foldlog doctor` finds, for those who look at the page: the command itself, in a
process of its own, with the settings of this server.

It runs once at a time on a host, at low priority, for RUN_MAX_S at most, and its answer
is good for KEPT_S in all workers, so that many open pages cost one run. It holds up no
request: only the process knows what it looks at.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import msgspec
from filelock import lock_descriptor

from shared.disk.durable import PRIVATE_MODE, publish
from shared.disk.layout import DataDirectory
from shared.exit_codes import PROBLEMS, SUCCESS
from shared.log import Log
from shared.timestamps import epoch_ms, rfc3339

RUN_MAX_S = 30.0
# How long a question waits for a run of another worker, and then for its own.
WAIT_MAX_S = RUN_MAX_S + 5.0
KEPT_S = 30.0
NICENESS = 10
_POLL_S = 0.1


@dataclass(frozen=True)
class DoctorCommand:
    """How this server's doctor is started: what is typed after `python -m foldlog`
    before the command, and the environment, which may hold the settings.
    """

    options: tuple[str, ...]
    environ: Mapping[str, str]
    program: tuple[str, ...] = (sys.executable, "-m", "foldlog")

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.program, *self.options, "doctor", "--json")


class DoctorFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One check: its level, what was found, and what to do (empty where all is
    well).
    """

    check: str
    level: Literal["ok", "warning", "wrong", "unknown"]
    found: str
    do: str


class DoctorAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one run found, when it ended, and how many seconds it took."""

    at: str
    seconds: float
    findings: list[DoctorFinding]


class NoAnswer(msgspec.Struct, frozen=True):
    """Why a run found nothing: it failed, took too long, or the worker stops."""

    code: Literal["doctor_failed", "doctor_timeout", "stopping"]
    detail: str


_FINDINGS = msgspec.json.Decoder(list[DoctorFinding])
_KEPT = msgspec.json.Decoder(DoctorAnswer)
_FAILED = NoAnswer("doctor_failed", "the doctor ended without an answer; run `foldlog doctor` on the host")
_TOO_LONG = NoAnswer("doctor_timeout", f"the doctor took more than {RUN_MAX_S:g} s; run `foldlog doctor` on the host")
_STOPPING = NoAnswer("stopping", "the server is shutting down")


class Doctor:
    """The runs of one worker. `is_stopping`: a run that has begun is killed."""

    def __init__(
        self,
        command: DoctorCommand,
        data: DataDirectory,
        log: Log,
        now_ms: Callable[[], int],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._command, self._data, self._log = command, data, log
        self._now_ms, self._is_stopping = now_ms, is_stopping
        self._underway: asyncio.Task[DoctorAnswer | NoAnswer] | None = None
        self._last: tuple[float, DoctorAnswer | NoAnswer] | None = None

    async def answer(self) -> DoctorAnswer | NoAnswer:
        """The answer of this run, of one that is underway, or of one just before. A
        client that leaves ends none.
        """
        if self._underway is None or self._underway.done():
            self._underway = asyncio.create_task(self._made())
        return await asyncio.shield(self._underway)

    async def _made(self) -> DoctorAnswer | NoAnswer:
        if known := self._known():
            return known
        async with self._turn() as is_ours:
            if self._is_stopping():
                return _STOPPING
            if known := self._known():  # another worker's, while this one waited
                return known
            made = await self._run() if is_ours else _TOO_LONG
        self._last = time.monotonic(), made
        return made

    def _known(self) -> DoctorAnswer | NoAnswer | None:
        """The answer, or failure, of the last KEPT_S here, or the answer of another
        worker.
        """
        if self._last and time.monotonic() - self._last[0] < KEPT_S:
            return self._last[1]
        try:
            kept = _KEPT.decode(self._data.doctor_answer.read_bytes())
            age_s = (self._now_ms() - epoch_ms(kept.at)) / 1000
        except (OSError, ValueError):  # also what cannot be decoded
            return None
        return kept if 0 <= age_s < KEPT_S else None

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[bool]:
        """Whether it is this worker's turn: the kernel gives it back when the worker
        dies.
        """
        descriptor = os.open(self._data.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline = time.monotonic() + WAIT_MAX_S
        try:
            while not (is_ours := lock_descriptor(descriptor, blocking=False)):
                if self._is_stopping() or time.monotonic() > deadline:
                    break
                await asyncio.sleep(_POLL_S)
            yield is_ours
        finally:
            os.close(descriptor)

    async def _run(self) -> DoctorAnswer | NoAnswer:
        began = time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                env=dict(self._command.environ),
            )
        except OSError as error:
            self._log.warning("doctor_failed", reason=error.strerror)
            return _FAILED
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        reading = asyncio.ensure_future(process.communicate())
        try:
            while not reading.done():
                await asyncio.wait((reading,), timeout=_POLL_S)
                if self._is_stopping():
                    return _STOPPING
                if not reading.done() and time.monotonic() - began > RUN_MAX_S:
                    self._log.warning("doctor_failed", reason=f"it took more than {RUN_MAX_S:g} s")
                    return _TOO_LONG
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            written, _ = await reading
        return await self._read(process.returncode, written, time.monotonic() - began)

    async def _read(self, code: int | None, written: bytes, seconds: float) -> DoctorAnswer | NoAnswer:
        try:
            findings = _FINDINGS.decode(written)
        except (msgspec.DecodeError, UnicodeDecodeError):
            findings = None
        if findings is None or code not in {SUCCESS, PROBLEMS}:
            self._log.warning("doctor_failed", reason=f"it ended with {code}")
            return _FAILED
        made = DoctorAnswer(rfc3339(self._now_ms()), round(seconds, 3), findings)
        with suppress(OSError):  # on a full disk the doctor is needed most
            await asyncio.to_thread(publish, self._data.doctor_answer, msgspec.json.encode(made), PRIVATE_MODE)
        return made
