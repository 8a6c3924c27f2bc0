"""P9: retention deletes what is folded and old, and nothing because a clock jumped.

The clock jumps under a real compactor, and a mass deletion waits for an operator.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from shared.disk.layout import DataDirectory
from shared.disk.marks import read_mark
from shared.generations.load import load_snapshot
from shared.generations.snapshot import (
    encode_snapshot,
)
from shared.segments.sealed import sealed_segments
from shared.timestamps import DAY_S, epoch_ms, now_ms, rfc3339
from tests.builders.command import run_here
from tests.builders.history import DAY_MS, history
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.server import Server, environment, verify
from tests.builders.waiting import TIMEOUT_S, until

HOUR_S = 3_600
EPOCH = 0
END_OF_32_BITS = 2**31


# Adds a number of seconds, which a file holds and which may change at any time, to the
# wall clock and to nothing else.
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *shift;

__attribute__((constructor)) static void look(void) {
    int file = open(getenv("CLOCK_SHIFT"), O_RDONLY | O_CLOEXEC);
    void *seen = file < 0 ? MAP_FAILED : mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (seen != MAP_FAILED) shift = seen;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec, now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    if (out) *out = fine.tv_sec;
    return fine.tv_sec;
}
"""


class Clock:
    """The wall clock of processes that are started with `environ`."""

    def __init__(self, directory: Path) -> None:
        source, library = directory / "clock.c", directory / "clock.so"
        self._shift = directory / "shift"
        self.jump(0)
        source.write_text(SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)  # noqa: S607
        self.environ = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._shift)}

    def jump(self, seconds: int) -> None:
        """To so many seconds from the real time."""
        with self._shift.open("r+b" if self._shift.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    if shutil.which("cc") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("cc is not installed")
    return Clock(tmp_path)


@pytest.mark.component
def test_scheduled_fold_goes_on_whatever_the_clock_does(tmp_path: Path, clock: Clock) -> None:
    """An hour back, a day ahead, to 1970, home, to 2038 and home again: the next
    segment is folded without being asked for.
    """
    data = data_directory(tmp_path / "data")
    environ = environment(data.root, fold_interval=1) | clock.environ
    with subprocess.Popen(
        [sys.executable, "-m", "foldlog", "compact"], env=environ, stderr=subprocess.DEVNULL
    ) as compactor:
        try:
            for number, shift in enumerate((0, -HOUR_S, DAY_S, to(EPOCH), 0, to(END_OF_32_BITS), 0), 1):
                clock.jump(shift)
                before = load_snapshot(data).generation
                sealed(data, [line(f"event-{number:04d}")])
                until(partial(has_counted, data, number))
                assert load_snapshot(data).generation > before
                until(partial(believes_in, data, shift))
                if shift > DAY_S:  # stays where it is, for several passes
                    until(partial(has_looked_until, data, (read_mark(data.last_pass) or 0) + 2000))
                assert len(sealed_segments(data)) == number, "nothing is old because the clock says so"
            compactor.terminate()
            assert compactor.wait(TIMEOUT_S) == 0
        finally:
            compactor.kill()
    verify(data, environ)


def to(moment_s: int) -> int:
    """The shift to a minute after a moment."""
    return moment_s + 60 - int(time.time())


def has_looked_until(data: DataDirectory, at_ms: int) -> bool:
    """Whether a pass that found nothing, too, has looked at a time or later."""
    return (read_mark(data.last_pass) or 0) >= at_ms


def has_counted(data: DataDirectory, events: int) -> bool:
    return load_snapshot(data).totals.counted == events


def believes_in(data: DataDirectory, shift_s: int) -> bool:
    """Whether the last pass took the time for one that is so many seconds from the real
    one.
    """
    return abs(epoch_ms(load_snapshot(data).as_of) / 1000 - time.time() - shift_s) < HOUR_S / 2


def test_what_is_held_shows_everywhere_until_somebody_says_so(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 8, now_ms())
    fold(data, now_ms(), archive_retention_days=7)
    four_days_ago = rfc3339(now_ms() - 4 * DAY_MS)
    snapshot = load_snapshot(data)
    run = msgspec.structs.replace(snapshot.retention, succeeded_at=four_days_ago, clock_suspect_since=None)
    data.snapshot.write_bytes(encode_snapshot(msgspec.structs.replace(snapshot, retention=run)))
    with Server(tmp_path, archive_retention_days=7) as server:
        assert list(failing(server)) == ["retention"]
        server.fold()
        assert list(failing(server)) == ["retention"]
        assert (
            "foldlog retain --confirm" in failing(server)["retention"] and four_days_ago in failing(server)["retention"]
        )
        assert metric(server, 'foldlog_retention_on_hold{kind="archive"}') == 1
        assert metric(server, 'foldlog_retention_on_hold{kind="log"}') == 0
        assert metric(server, "foldlog_retention_last_success_timestamp_seconds") == epoch_ms(four_days_ago) / 1000
        status = server.get("/admin/api/status").json()
        assert status["last_retention"]["on_hold"]["archive"]["days"] == 8
        assert status["last_retention"]["last_success"] == four_days_ago
        assert any("foldlog retain --confirm" in text for text in status["warnings"])
        assert metric(server, 'foldlog_data_bytes{kind="archive"}') == status["disk"]["archive_bytes"] > 0
        assert metric(server, 'foldlog_data_bytes{kind="log"}') == status["disk"]["log_bytes"]
        assert "on hold, to be confirmed: archive" in run_here(["status"], server.environ).stdout

        before = time.time()
        done = run_here(["retain", "--confirm"], server.environ)
        assert done.returncode == 0, done.stderr
        assert failing(server) == {}
        assert metric(server, 'foldlog_retention_on_hold{kind="archive"}') == 0
        assert before - 1 <= metric(server, "foldlog_retention_last_success_timestamp_seconds") <= time.time() + 1
        server.fold()
        assert server.get("/admin/api/status").json()["last_retention"]["on_hold"] == {}
        assert failing(server) == {}


def failing(server: Server) -> dict[str, str]:
    """The checks of readiness that fail, with what they say."""
    checks = server.request("GET", "/readyz").json()["checks"]
    return {check["name"]: check["detail"] for check in checks if not check["ok"]}


def metric(server: Server, name: str) -> float:
    """One sample."""
    text = server.request("GET", "/metrics").body.decode("utf-8")
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found)
