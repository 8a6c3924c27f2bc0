"""The command line: reads the settings, checks the data directory and runs one command.

What can be typed is in arguments.py; each command is a module in commands/, imported
when it is typed.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from foldlog.arguments import make_parser
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS, TRY_AGAIN, USAGE, TemporaryFailure, UsageError
from shared.log import Log
from shared.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from foldlog.log_output import OperatorLog

Command = Callable[[argparse.Namespace, Settings, DataDirectory, Log], int]

# Those that run until they are stopped. The others end with the terminal they were
# typed in.
SERVICES = {"serve", "ingest", "compact"}
WITHOUT_DATA_DIR = {"bench", "check-config"}
# Those that add to the data directory. They refuse a file system that cannot be relied
# on, and data of a newer Foldlog.
WRITERS = {"serve", "ingest", "compact", "compress", "import", "rebuild", "retain", "erase", "backup"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 found wrong, 2 usage or
    configuration, 75 try again.
    """
    given = make_parser().parse_args(arguments)
    data: DataDirectory | None = None
    try:
        settings = load(os.environ, Path(given.config) if given.config else None)
        log = _open_log(given, settings)
        data = DataDirectory(settings.data_dir)
        _preflight(given.command, data)
        return command(given.command)(given, settings, data, log)
    except UsageError as error:
        return _complain(str(error), USAGE)
    except TemporaryFailure as error:
        return _complain(str(error), TRY_AGAIN)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return SUCCESS
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        return _complain(_describe(error, data), TRY_AGAIN)
    except Exception as error:
        if _is_out_of_memory(error):
            more = "raise FOLDLOG_REPORT_MEMORY (FOLDLOG_FOLD_MEMORY for the fold)"
            return _complain(f"not enough memory: ask for less, or {more}", TRY_AGAIN)
        raise


def command(name: str) -> Command:
    """The function that carries out a command. Imports its module."""
    module = {"import": "import_"}.get(name, name.replace("-", "_"))
    run: Command = import_module(f"foldlog.commands.{module}").run
    return run


def _open_log(given: argparse.Namespace, settings: Settings) -> OperatorLog:
    from foldlog.log_output import keep_open, open_log

    log = open_log(settings, given.command)
    if given.command in SERVICES:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it asks to seal; a process without a segment ignores it
        keep_open(log, supervised=given.supervised)
    return log


def _preflight(name: str, data: DataDirectory) -> None:
    """Raises what keeps a command from this data directory, before it has touched
    anything.
    """
    if name not in WITHOUT_DATA_DIR and data.root.exists() and not data.root.is_dir():
        raise SettingsError(f"{data.root} is no directory; set FOLDLOG_DATA_DIR")
    if name in WRITERS:
        from foldlog.preflight import check_start

        check_start(data)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether it is DuckDB's, which no command loads to find that out."""
    duckdb = sys.modules.get("duckdb")
    return duckdb is not None and isinstance(error, duckdb.OutOfMemoryException)


def _describe(error: OSError, data: DataDirectory | None) -> str:
    """The system's words, and whose files they are where the data directory may not be
    read or written.
    """
    text = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    if error.errno == errno.EACCES and data and Path(str(error.filename)).is_relative_to(data.root):
        return f"{text}; run this as the user that Foldlog runs as. `foldlog doctor` says more"
    return text


def _complain(message: str, code: int) -> int:
    print(f"foldlog: {message}", file=sys.stderr)
    return code
