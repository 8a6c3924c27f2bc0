"""`foldlog compact`: the compactor, on schedule or once."""

from __future__ import annotations

import argparse

from compactor.process import Compactor, compact_once, run_compactor
from foldlog.supervisor.notifier import notifier_for
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS
from shared.log import Log
from shared.settings import Settings


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    if not given.once:
        return run_compactor(settings, log, notifier_for(given, settings), supervised=given.supervised)
    make_data_directory(data)
    Compactor(data, settings, log).begin()
    compact_once(data, settings, log)
    return SUCCESS
