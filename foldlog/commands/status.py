"""`foldlog status`: the balance, the segments, the lag and the disk."""

from __future__ import annotations

import msgspec
import orjson

from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.processes import Running, find_running
from foldlog.status_screen import screen
from foldlog.terminal import Console, plain
from shared.exit_codes import SUCCESS
from shared.settings import Settings
from shared.status import Status, read_status

_STYLES = {"PROBLEMS": "bold red", "OK": "bold green", "WRONG": "red", "WARNING": "yellow"}


def run(call: Invocation) -> int:
    status = read_status(require_data_dir(call.data), call.settings)
    if call.options.json:
        print(orjson.dumps(msgspec.to_builtins(status), option=orjson.OPT_INDENT_2).decode("utf-8"))
    else:
        show(Console(), status, find_running(call.data), call.settings)
    return SUCCESS


def show(console: Console, found: Status, running: Running, in_force: Settings) -> None:
    """The status on one screen, if there is a screen."""
    for line in screen(found, running, in_force, console.width, console.height if console.is_terminal else None):
        style = next((style for beginning, style in _STYLES.items() if line.startswith(beginning)), "")
        console.print(plain(line), style=style, soft_wrap=True)
