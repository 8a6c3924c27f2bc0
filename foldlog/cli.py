"""The command line: reads the settings, checks the data directory and runs one command.

arguments.py defines what can be typed. Each command is a module in commands/ that is
imported when the command is typed.
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
from foldlog.guarded_output import guarded_output
from shared.control_chars import escape_controls
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS, TRY_AGAIN, USAGE, TemporaryFailure, UsageError
from shared.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from foldlog.commands import Invocation
    from foldlog.log_output import OperatorLog

# These run until they are stopped; the others end with their terminal.
SERVICES = {"serve", "ingest", "compact"}
WITHOUT_DATA_DIR = {"bench", "check-config", "demo"}
# These write to the data directory. They reject an unreliable file system and data of a
# newer Foldlog.
WRITERS = {"serve", "ingest", "compact", "compress", "import", "rebuild", "retain", "erase", "backup"}
# Beside them, these leave files there.
OWNERS = WRITERS | {"token", "rotate", "store", "verify"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 found wrong, 2 usage or
    configuration, 75 try again.
    """
    with guarded_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    given = make_parser().parse_args(arguments)
    data: DataDirectory | None = None
    try:
        settings = load(os.environ, Path(given.config) if given.config else None)
        log = _open_log(given, settings)
        data = DataDirectory(settings.data_dir)
        _preflight(given.command, data)
        return _run(given, settings, data, log)
    except UsageError as error:
        return _report(str(error), USAGE)
    except TemporaryFailure as error:
        return _report(str(error), TRY_AGAIN)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of the pipe has closed it
        return SUCCESS
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        return _report(_describe(error, data), TRY_AGAIN)
    except Exception as error:
        if _is_out_of_memory(error):
            more = "raise FOLDLOG_REPORT_MEMORY (FOLDLOG_FOLD_MEMORY for the fold)"
            return _report(f"not enough memory: ask for less, or {more}", TRY_AGAIN)
        if _is_from_database(error):
            return _report(_sentence(error), TRY_AGAIN)
        raise


def _run(given: argparse.Namespace, settings: Settings, data: DataDirectory, log: OperatorLog) -> int:
    from foldlog.commands import Invocation

    return command(given.command)(Invocation(given, settings, data, log))


def command(name: str) -> Callable[[Invocation], int]:
    """The function that runs a command. Imports its module."""
    module = {"import": "import_"}.get(name, name.replace("-", "_"))
    run: Callable[[Invocation], int] = import_module(f"foldlog.commands.{module}").run
    return run


def _open_log(given: argparse.Namespace, settings: Settings) -> OperatorLog:
    from foldlog.log_output import keep_open, open_log

    log = open_log(settings, given.command)
    if given.command in SERVICES:
        from shared.core_dumps import forbid_core_dumps

        forbid_core_dumps()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a request to seal; a process without a segment ignores it
        keep_open(log, supervised=given.supervised)
    return log


def _preflight(name: str, data: DataDirectory) -> None:
    """Raises UsageError when the command must not use this data directory."""
    if name not in WITHOUT_DATA_DIR and data.root.exists() and not data.root.is_dir():
        raise SettingsError(f"{data.root} is not a directory; set FOLDLOG_DATA_DIR")
    if name in OWNERS:
        from foldlog.preflight import check_user

        check_user(data, name, creates=name in SERVICES)
    if name in WRITERS:
        from foldlog.preflight import check_start

        check_start(data)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether DuckDB raised it. Does not load DuckDB to find out."""
    duckdb = sys.modules.get("duckdb")
    return duckdb is not None and isinstance(error, duckdb.OutOfMemoryException)


def _is_from_database(error: Exception) -> bool:
    """Whether DuckDB met something that is not a fault of a statement: a full disk, a
    file that is gone or may not be read.
    """
    duckdb = sys.modules.get("duckdb")
    return duckdb is not None and isinstance(error, duckdb.OperationalError)


def _sentence(error: Exception) -> str:
    """What DuckDB says, in one line and without its kind of error."""
    first = str(error).strip().partition("\n")[0]
    return first.partition("Error: ")[2] or first


def _describe(error: OSError, data: DataDirectory | None) -> str:
    """The message of the system; for a file of the data directory that this user may
    not access, also what to do.
    """
    text = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    if error.errno == errno.EACCES and data and Path(str(error.filename)).is_relative_to(data.root):
        return f"{text}; run this as the user that Foldlog runs as. `foldlog doctor` shows more"
    return text


def _report(message: str, code: int) -> int:
    print(f"foldlog: {escape_controls(message)}", file=sys.stderr)
    return code
