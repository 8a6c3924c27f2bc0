"""What `foldlog serve` does first where FOLDLOG_INSTANCE is set: an empty directory
takes that instance over, in a process of its own, since it needs the database engine.
"""

from __future__ import annotations

import subprocess
import sys

from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS, USAGE, TemporaryFailure
from shared.settings import Settings
from shared.stores.instance import check_instance, wants_takeover


class TakeoverFailed(TemporaryFailure):
    """The process has said why."""

    def __str__(self) -> str:
        return "the instance could not be taken over yet; nothing was accepted"


def take_over_first(data: DataDirectory, settings: Settings, config: str | None) -> None:
    """Raises OtherInstance, TakeoverFailed, and SystemExit where the takeover was
    refused.
    """
    if settings.instance and wants_takeover(data, settings.instance):
        command = [sys.executable, "-m", "foldlog", *(["--config", config] if config else []), "store", "takeover"]
        code = subprocess.run(command, check=False).returncode
        if code == USAGE:
            raise SystemExit(USAGE)
        if code != SUCCESS:
            raise TakeoverFailed
    check_instance(data, settings.instance)
