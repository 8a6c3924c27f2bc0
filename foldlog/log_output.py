"""What the processes say: one JSON line an event, on standard error or in
FOLDLOG_LOG_FILE; words if that is a terminal.

No personal data, ever, and nothing that a client sent stands there unescaped. A call
never raises and never waits for another: a message that cannot be kept is no reason to
lose an event that can. All processes append to the same file, each line in one write,
so that lines of different processes never mix. SIGHUP opens the file anew: whoever
rotates it renames it first.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import structlog

from shared.control_chars import escape_control_chars
from shared.settings import Settings, SettingsError
from shared.systemd_notify import Notifier

FILE_MODE = 0o640

Message = MutableMapping[str, Any]


class Output:
    """Where lines go: the file; standard error if there is none, or if it takes no
    more.

    There is no lock: a signal handler logs, too, in the middle of whatever its thread
    was doing, and would wait for itself.
    """

    def __init__(self, path: Path | None) -> None:
        self.is_terminal = path is None and sys.stderr is not None and sys.stderr.isatty()
        self._path = path
        self._descriptor: int | None = None
        self._tried = False
        self._may_be_torn = False

    def open(self) -> None:
        """Open the file, or what is at its path now in place of it. Raises OSError, and
        then everything stays as it was.
        """
        self._tried = True
        if self._path is None:
            return
        opened = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, FILE_MODE)
        if self._descriptor is None:
            self._descriptor = opened
            self._may_be_torn = _is_torn(
                opened
            )  # looked at again before the first line: a line being written looks torn, too
        else:
            # The number stays and changes its file in one step: a thread that is about
            # to write never finds it closed.
            os.dup2(opened, self._descriptor, inheritable=False)
            os.close(opened)

    def reopen(self) -> None:
        """The same, where a file that cannot be opened is no reason to stop: the lines
        go where they went.
        """
        try:
            self.open()
        except OSError as error:
            get_log("log").error("log_file_not_opened", reason=str(error))

    def write(self, line: bytes) -> None:
        """Append one line. What the file does not take whole goes to standard error."""
        if not self._tried:
            self.reopen()
        if self._descriptor is None:
            _to_standard_error(line)
            return
        try:
            _write(self._descriptor, self._line_break(self._descriptor) + line)
        except OSError:
            self._may_be_torn = True
            _to_standard_error(line)

    # structlog calls the method that is named like the level.
    debug = info = warning = error = critical = write

    def _line_break(self, descriptor: int) -> bytes:
        """What ends half a line that a full disk or a power cut left: the next line
        must not be lost with it.
        """
        looked_torn, self._may_be_torn = self._may_be_torn, False
        return b"\n" if looked_torn and _is_torn(descriptor) else b""


def configure_log(settings: Settings) -> Output:
    """Once per process, before the first line, which opens the file.

    Not sooner: a report is no business of the file's, and whoever asks for one may not
    be the user that it should belong to.
    """
    output = Output(settings.log_file)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_printable, structlog.dev.ConsoleRenderer(), _encode_words] if output.is_terminal else [_encode]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=lambda *_: output,
    )
    logging.lastResort = _Libraries(logging.WARNING)
    return output


def keep_open(output: Output, *, supervised: bool) -> None:
    """What a service does: it opens the file at once, and anew on SIGHUP, whose default
    is to end the process.

    Raises SettingsError for a file that cannot be opened, unless `supervised`: a worker
    that is started again while the disk is full is worth more than its messages.
    """
    if supervised:
        output.reopen()
    else:
        _open_or_refuse(output)

    if output.is_terminal:
        return  # there is no file, and whoever closes the terminal means to end what runs in it

    def on_hangup(_number: int, _frame: FrameType | None) -> None:
        output.reopen()

    signal.signal(signal.SIGHUP, on_hangup)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # a child of `serve` starts with it blocked


def say_reloading(notifier: Notifier) -> None:
    """Let systemd know when what SIGHUP asks for has been done."""
    own = signal.getsignal(signal.SIGHUP)
    if not callable(own):
        return

    def on_hangup(number: int, frame: FrameType | None) -> None:
        notifier.reloading()
        own(number, frame)
        notifier.reloaded()

    signal.signal(signal.SIGHUP, on_hangup)


def _open_or_refuse(output: Output) -> None:
    try:
        output.open()
    except OSError as error:
        raise SettingsError(
            f"FOLDLOG_LOG_FILE: cannot append to {error.filename}: {error.strerror}. "
            "Its directory must exist and be writable for the user that Foldlog runs as."
        ) from None


def get_log(component: str) -> Any:
    return structlog.get_logger(component=component)


class _Libraries(logging.Handler):
    """What libraries say through `logging`, as lines like the others: the kind of thing
    and where, never a value.
    """

    def emit(self, record: logging.LogRecord) -> None:
        log = get_log(record.name)
        error = record.exc_info[1] if record.exc_info else None
        say = log.error if record.levelno >= logging.ERROR else log.warning
        # The template without its arguments, and its first line: both arguments and
        # details may name a client's address.
        say(
            "library",
            message=_text(record.msg).partition("\n")[0],
            **({"error": _kind_and_place(error)} if error else {}),
        )


def _kind_and_place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__ + (f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else "")


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size  # 0 for a pipe or a device, which cannot be looked at
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _write(descriptor: int, line: bytes) -> None:
    """In one go. If only a part of it was taken, asking for the rest says why."""
    while line:
        line = line[os.write(descriptor, line) :]


def _to_standard_error(line: bytes) -> None:
    with suppress(
        OSError, ValueError, AttributeError
    ):  # closed, or nobody reads it any more: nowhere is left to say so
        _write(sys.stderr.fileno(), line)


def _encode(_logger: object, _level: str, message: Message) -> bytes:
    try:
        encoded = orjson.dumps(message, default=str)
    except TypeError:  # half a surrogate pair, an integer beyond 64 bits, a key that is no text
        encoded = orjson.dumps({_text(name): _encodable(value) for name, value in message.items()}, default=str)
    return escape_control_chars(encoded) + b"\n"


def _encodable(value: object) -> object:
    try:
        orjson.dumps(value, default=str)
    except TypeError:
        return _text(value)
    return value


def _text(value: object) -> str:
    """As people would see it; bytes that were no UTF-8, which Python keeps as half
    surrogate pairs, as escapes.
    """
    try:
        text = str(value)
    except Exception:  # noqa: BLE001  it is code of whoever made the value, and a log call never raises
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _printable(_logger: object, _level: str, message: Message) -> Message:
    """For a terminal, which acts on control characters: those and whatever else cannot
    be seen as escapes.
    """
    return {
        name: value if isinstance(value, int | float) else _visible(_text(value)) for name, value in message.items()
    }


def _visible(text: str) -> str:
    return "".join([char if char.isprintable() else f"\\u{ord(char):04x}" for char in text])


def _encode_words(_logger: object, _level: str, words: str) -> bytes:
    return words.encode("utf-8") + b"\n"
