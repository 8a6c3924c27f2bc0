"""One module per command, imported when the command is typed.

Each has `run(call)`, which returns the exit code.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings


@dataclass(frozen=True)
class Invocation:
    """A command as it was typed, and what it works on."""

    options: argparse.Namespace
    settings: Settings
    data: DataDirectory
    log: Log
