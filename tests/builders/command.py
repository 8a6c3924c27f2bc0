"""A `foldlog` command run in this process: its sentences and exit code without the time
that a process takes to start.

Only for commands that end by themselves; a service changes signal handlers.
"""

from __future__ import annotations

import io
import logging
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from foldlog.cli import SERVICES, main


def run_here(arguments: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What `run_foldlog` returns, from a call of main()."""
    assert arguments[:1] == [] or arguments[0] not in SERVICES or "--help" in arguments
    handler = logging.lastResort
    with (
        tempfile.TemporaryFile() as out,  # real files: the log writes to descriptors
        tempfile.TemporaryFile() as err,
        io.TextIOWrapper(out, "utf-8", write_through=True) as stdout,
        io.TextIOWrapper(err, "utf-8", write_through=True) as stderr,
    ):
        try:
            with mock.patch.dict(os.environ, environ, clear=True), redirect_stdout(stdout), redirect_stderr(stderr):
                code = _exit_code(arguments)
        finally:
            logging.lastResort = handler
        return subprocess.CompletedProcess(arguments, code, _content(stdout), _content(stderr))


def _exit_code(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def _content(file: io.TextIOWrapper) -> str:
    file.flush()
    file.seek(0)
    return file.read()
