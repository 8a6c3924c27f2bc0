"""The wall clock jumps under running processes: the compactor goes on, nothing is
deleted for it, days stay right (P9).
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from shared.timestamps import epoch_ms
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.server import environment, verify
from tests.builders.waiting import until

STOP_S = 15.0
HOUR_S = 3_600
DAY_S = 86_400
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
    """A wall clock that processes started with `environ` believe in."""

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
@pytest.mark.timeout(200)
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
                    until(partial(has_passed, data, load_snapshot(data).generation + 2))
                assert len(sealed_segments(data)) == number, "nothing is old because the clock says so"
            compactor.terminate()
            assert compactor.wait(STOP_S) == 0
        finally:
            compactor.kill()
    verify(data, environ)


def to(moment_s: int) -> int:
    """The shift to a minute after a moment."""
    return moment_s + 60 - int(time.time())


def has_passed(data: DataDirectory, generation: int) -> bool:
    return load_snapshot(data).generation >= generation


def has_counted(data: DataDirectory, events: int) -> bool:
    return load_snapshot(data).totals.counted == events


def believes_in(data: DataDirectory, shift_s: int) -> bool:
    """Whether the last pass took the time for one that is so many seconds from the real
    one.
    """
    return abs(epoch_ms(load_snapshot(data).as_of) / 1000 - time.time() - shift_s) < HOUR_S / 2


# When an event happened, and the UTC day that it belongs to.
MOMENTS = {
    "the epoch": ("1970-01-01T00:00:00.000Z", "1970-01-01"),
    "before midnight": ("2026-11-22T23:59:59.999Z", "2026-11-22"),
    "midnight": ("2026-11-23T00:00:00.000Z", "2026-11-23"),
    "leap day": ("2028-02-29T23:59:59.999Z", "2028-02-29"),
    "after the leap day": ("2028-03-01T00:00:00.000Z", "2028-03-01"),
    "no leap day": ("2100-02-28T23:59:59.999Z", "2100-02-28"),
    "clocks go forward": ("2027-03-28T01:30:00.000Z", "2027-03-28"),
    "clocks go back": ("2027-10-31T00:30:00.000Z", "2027-10-31"),
    "the last second of 32 bits": ("2038-01-19T03:14:07.999Z", "2038-01-19"),
    "the second after it": ("2038-01-19T03:14:08.000Z", "2038-01-19"),
}


def test_event_is_counted_on_its_utc_day_whatever_the_day(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    moments = [epoch_ms(moment) for moment, _ in MOMENTS.values()]
    sealed(data, [line(f"event-{number:04d}", moment) for number, moment in enumerate(moments)])
    done = fold(data, max(moments), timezone="Europe/Berlin")
    found = {day.isoformat(): sum(part.rows for part in kept.archive) for day, kept in done.snapshot.days.items()}
    days = [day for _, day in MOMENTS.values()]
    assert found == {day: days.count(day) for day in days}


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S, -DAY_S, DAY_S])
def test_small_jump_deletes_nothing_in_any_number_of_passes(tmp_path: Path, jump_s: int) -> None:
    data = data_directory(tmp_path)
    segment = sealed(data, [line("event-0001", int(time.time() * 1000))])
    now = int(segment.sealed_at.timestamp() * 1000)
    for seconds in (0, 60, jump_s, jump_s + 60, jump_s + 120, 180):
        done = fold(data, now + seconds * 1000, log_retention_days=2)
    assert done.snapshot.totals.counted == 1
    assert [found.name for found in sealed_segments(data)] == [segment]
