"""`foldlog rotate`: the writers seal."""

from __future__ import annotations

import argparse

from foldlog.preflight import require_data_dir
from shared.disk.control_files import seal_and_wait
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS
from shared.log import Log
from shared.settings import Settings

TIMEOUT_S = 10.0


def run(_given: argparse.Namespace, _settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    seal_and_wait(require_data_dir(data), TIMEOUT_S)
    return SUCCESS
