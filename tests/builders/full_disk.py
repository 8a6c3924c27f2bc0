"""A PostgreSQL whose disk is full when a test says so: its files below `base/` cannot
grow, as on a full tablespace, and it says so with SQLSTATE 53100. It needs no mount.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import required
from tests.builders.programs import missing

# Fails what makes a file longer, while there is a file that the environment names.
_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_full(int file, off_t end) {
    char name[64], path[PATH_MAX + 1];
    const char *mark = getenv("FULL_DISK");
    struct stat found;
    if (!mark || access(mark, F_OK)) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, PATH_MAX);
    if (length < 0 || fstat(file, &found)) return 0;
    path[length] = 0;
    return strstr(path, "/base/") && end > found.st_size;
}

static off_t bytes_of(const struct iovec *parts, int count) {
    off_t sum = 0;
    for (int n = 0; n < count; n++) sum += parts[n].iov_len;
    return sum;
}

#define GROWING(type, name, end, failure, parameters, arguments) \\
    type name parameters { \\
        static type (*real) parameters; \\
        if (is_full(file, end)) { errno = ENOSPC; return failure; } \\
        if (!real) real = dlsym(RTLD_NEXT, #name); \\
        return real arguments; \\
    }
#define WRITE(name) GROWING(ssize_t, name, at + (off_t) size, -1, \\
    (int file, const void *from, size_t size, off_t at), (file, from, size, at))
#define WRITE_PARTS(name) GROWING(ssize_t, name, at + bytes_of(parts, count), -1, \\
    (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))
#define ALLOCATE(name) GROWING(int, name, at + size, ENOSPC, \\
    (int file, off_t at, off_t size), (file, at, size))
WRITE(pwrite)
WRITE(pwrite64)
WRITE_PARTS(pwritev)
WRITE_PARTS(pwritev64)
ALLOCATE(posix_fallocate)
ALLOCATE(posix_fallocate64)
"""


class Disk:
    """That of a server which has been started on it."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def fill(self) -> None:
        self._mark.touch()

    def free(self) -> None:
        self._mark.unlink(missing_ok=True)


@contextmanager
def server_on_a_disk() -> Iterator[tuple[Server, Disk]]:
    """A server, and its disk, which has room."""
    if shutil.which("cc") is None:
        missing("cc is not installed (Debian: apt-get install gcc libc6-dev)")
    with tempfile.TemporaryDirectory(prefix="full-disk-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the server is another user where this is root
        library, mark = place / "full.so", place / "full"
        (place / "full.c").write_text(_SHIM)
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", library, place / "full.c", "-ldl"],  # noqa: S607
            check=True,
        )
        before = ["env", f"LD_PRELOAD={library}", f"FULL_DISK={mark}"]
        with running(required("system"), quick=True, before=before) as server:
            yield server, Disk(mark)
