"""What a reader process gets of its worker's environment.

The settings of a worker may stand in its environment, with tokens, keys and passwords.
A reader runs questions of clients, so it gets only names that are known to hold no
secret. What the driver of PostgreSQL reads from there (PGPASSWORD, PGSSLROOTCERT …)
comes with each question, through the pipe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_NAMES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "VIRTUAL_ENV"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)
_PREFIXES = ("LC_", "PYTHON", "MALLOC_", "COVERAGE_")
_DRIVER_PREFIX = "PG"


def reader_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with which a reader process starts."""
    return {name: value for name, value in environ.items() if name in _NAMES or name.startswith(_PREFIXES)}


def driver_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What goes through the pipe."""
    return {name: value for name, value in environ.items() if name.startswith(_DRIVER_PREFIX)}


def adopt(given: Mapping[str, str]) -> None:
    """Let the driver find what came through the pipe. /proc shows only the environment
    with which a process started.
    """
    if any(os.environ.get(name) != value for name, value in given.items()):
        os.environ.update(given)
