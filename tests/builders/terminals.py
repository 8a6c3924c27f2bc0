"""A command on a terminal of its own, and what may stand in its output."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from foldlog.cli import SERVICES, main
from shared.control_chars import CONTROL_CHARS

# What a client, a file or another host may bring: each moves a terminal or hides text.
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x1bc\x9b2J\x7f\x08\x0c\u202e\u2066\u2028\x85"
# What rich draws colours and progress with, and how lines end on a terminal.
_OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\r+\n?|\n")


def harm(text: str) -> list[str]:
    """The characters of an output that a command may not write."""
    return CONTROL_CHARS.findall(_OWN.sub("", text))


def on_terminal(arguments: list[str], environ: Mapping[str, str]) -> str:
    """What a command writes to a terminal, on both streams."""
    master, slave = pty.openpty()
    written: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, written))
    reader.start()
    environ = {**environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    try:
        _run(arguments, environ, slave)
    finally:
        os.close(slave)
        reader.join()
        os.close(master)
    return b"".join(written).decode("utf-8", "surrogateescape")


def _run(arguments: list[str], environ: Mapping[str, str], terminal: int) -> None:
    if arguments[:1] and arguments[0] in SERVICES:  # it changes signal handlers
        command = [sys.executable, "-m", "foldlog", *arguments]
        subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, check=False, timeout=120
        )
        return
    handler = logging.lastResort
    with (
        io.TextIOWrapper(os.fdopen(os.dup(terminal), "wb"), "utf-8", write_through=True) as stdout,
        io.TextIOWrapper(os.fdopen(os.dup(terminal), "wb"), "utf-8", write_through=True) as stderr,
        mock.patch.dict(os.environ, environ, clear=True),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main(arguments)
        except SystemExit:
            pass
        finally:
            logging.lastResort = handler


def _read_all(master: int, into: list[bytes]) -> None:
    try:
        while block := os.read(master, 1 << 16):
            into.append(block)
    except OSError:  # EIO: the other end is closed
        pass
