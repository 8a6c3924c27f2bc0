"""Where the operator's log goes: standard error, or the file in FOLDLOG_LOG_FILE.

A line holds no personal data. A log call neither raises nor waits for another thread:
losing a line must not cost an event. All processes append to the same file, each line
in one write, so that lines never mix. SIGHUP reopens the file, because log rotation
renames it first.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType

from foldlog.log_lines import encode_json, encode_text, make_message, to_text
from shared.settings import LogLevel, Settings, SettingsError
from shared.systemd_notify import Notifier

FILE_MODE = 0o640
_RANK = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class Output:
    """The file, or standard error if there is no file or the file takes no more.

    There is no lock: a signal handler also logs, in the middle of whatever its thread
    was doing, and would deadlock with itself.
    """

    def __init__(self, path: Path | None) -> None:
        self.is_terminal = path is None and sys.stderr is not None and sys.stderr.isatty()
        self._path = path
        self._descriptor: int | None = None
        self.was_tried = False
        self._may_be_torn = False

    def open(self) -> None:
        """Open the file, or replace the open one by what is at its path now. Raises
        OSError, and then nothing has changed.
        """
        self.was_tried = True
        if self._path is None:
            return
        opened = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, FILE_MODE)
        if self._descriptor is None:
            self._descriptor = opened
            # Checked again before the first line: a line being written looks torn, too.
            self._may_be_torn = _is_torn(opened)
        else:
            # dup2 replaces the file under the same number in one step, so that a thread
            # that is about to write never finds it closed.
            os.dup2(opened, self._descriptor, inheritable=False)
            os.close(opened)

    def write(self, line: bytes) -> None:
        """Append one line. What the file does not take goes to standard error."""
        if self._descriptor is None:
            _write_to_stderr(line)
            return
        try:
            _write(self._descriptor, self._line_break(self._descriptor) + line)
        except OSError:
            self._may_be_torn = True
            _write_to_stderr(line)

    def _line_break(self, descriptor: int) -> bytes:
        """A line end, if a full disk or a power cut left half a line: otherwise the
        next line would be lost with it.
        """
        looked_torn, self._may_be_torn = self._may_be_torn, False
        return b"\n" if looked_torn and _is_torn(descriptor) else b""


class OperatorLog:
    """The log of one component: one line per event at or above `level`."""

    def __init__(self, output: Output, component: str, level: LogLevel) -> None:
        self.output = output
        self._component = component
        self._level: LogLevel = level
        self._lowest = _RANK[level]
        self._encode = encode_text if output.is_terminal else encode_json

    def of(self, component: str) -> OperatorLog:
        """The log of another component, on the same output."""
        return OperatorLog(self.output, component, self._level)

    def debug(self, event: str, **fields: object) -> None:
        self._add("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._add("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._add("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._add("error", event, fields)

    def reopen(self) -> None:
        """Open the file again. If it cannot be opened, lines continue to go where they
        went before.
        """
        try:
            self.output.open()
        except OSError as error:
            self.of("log").error("log_file_not_opened", reason=str(error))

    def _add(self, level: LogLevel, event: str, fields: dict[str, object]) -> None:
        if _RANK[level] < self._lowest:
            return
        if not self.output.was_tried:
            self.reopen()
        self.output.write(self._encode(make_message(self._component, level, event, fields)))


def open_log(settings: Settings, component: str) -> OperatorLog:
    """The log of this process; warnings of libraries go there as well.

    The file is opened with the first line and not sooner: a report logs nothing, and
    its user may not be the one that the file should belong to.
    """
    log = OperatorLog(Output(settings.log_file), component, settings.log_level)
    logging.lastResort = _LibraryHandler(log)
    return log


def keep_open(log: OperatorLog, *, supervised: bool) -> None:
    """For a service: open the file now, and again on SIGHUP, whose default action ends
    the process.

    Raises SettingsError for a file that cannot be opened, unless `supervised`: a worker
    that restarts while the disk is full is worth more than its log.
    """
    if supervised:
        log.reopen()
    else:
        _open_or_reject(log.output)

    if log.output.is_terminal:
        return  # there is no file, and closing the terminal is meant to end what runs in it

    def on_hangup(_number: int, _frame: FrameType | None) -> None:
        log.reopen()

    signal.signal(signal.SIGHUP, on_hangup)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # blocked when `serve` started this child


def notify_reloads(notifier: Notifier) -> None:
    """Report to systemd the start and the end of each reload by SIGHUP."""
    own = signal.getsignal(signal.SIGHUP)
    if not callable(own):
        return

    def on_hangup(number: int, frame: FrameType | None) -> None:
        notifier.reloading()
        own(number, frame)
        notifier.reloaded()

    signal.signal(signal.SIGHUP, on_hangup)


def _open_or_reject(output: Output) -> None:
    try:
        output.open()
    except OSError as error:
        raise SettingsError(
            f"FOLDLOG_LOG_FILE: cannot append to {error.filename}: {error.strerror}. "
            "Its directory must exist and be writable for the user that Foldlog runs as."
        ) from None


class _LibraryHandler(logging.Handler):
    """Warnings of libraries through `logging`: what and where, never a value."""

    def __init__(self, log: OperatorLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        log = self._log.of(record.name)
        write = log.error if record.levelno >= logging.ERROR else log.warning
        # Only the first line of the template: arguments and details may contain a
        # client's address.
        message = to_text(record.msg).partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        write("library", message=message, **({"error": _kind_and_place(error)} if error else {}))


def _kind_and_place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__ + (f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else "")


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size  # 0 for a pipe or a device, which cannot be read back
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _write(descriptor: int, line: bytes) -> None:
    """In one write. After a partial write, the next one raises the reason."""
    while line:
        line = line[os.write(descriptor, line) :]


def _write_to_stderr(line: bytes) -> None:
    # Closed, or its reader is gone: no place is left to report that.
    with suppress(OSError, ValueError, AttributeError):
        _write(sys.stderr.fileno(), line)
