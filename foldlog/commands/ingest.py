"""`foldlog ingest`: one worker."""

from __future__ import annotations

import argparse
import os
import re

from foldlog.supervisor.notifier import notifier_for
from foldlog.supervisor.socket_activation import inherited_sockets
from ingest.worker import Start, run_worker
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings, SettingsError


def run(given: argparse.Namespace, settings: Settings, _data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    if not re.fullmatch("[a-z0-9_]{1,32}", given.writer):
        raise SettingsError("--writer takes a-z, 0-9 and _")
    sockets = inherited_sockets(os.environ, os.getpid(), given.listen_fd)
    start = Start(given.supervised, given.rate_table, sockets, notifier_for(given, settings))
    return run_worker(settings, given.writer, log, start)
