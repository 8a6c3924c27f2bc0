"""`foldlog serve`."""

from __future__ import annotations

import argparse
import os

from foldlog.supervisor.serve import serve
from foldlog.supervisor.socket_activation import inherited_sockets
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.systemd_notify import from_environment


def run(given: argparse.Namespace, settings: Settings, _data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    sockets = inherited_sockets(os.environ, os.getpid())
    return serve(settings, given.config, sockets, from_environment(os.environ, os.getpid()), log)
