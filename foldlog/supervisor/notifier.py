"""Where a worker or the compactor reports its state: to `serve`, or to systemd."""

from __future__ import annotations

import argparse
import os

from foldlog.log_output import notify_reloads
from shared.settings import Settings
from shared.systemd_notify import Notifier, from_descriptor, from_environment

# Two heartbeats are due in this share of FOLDLOG_WORKER_TIMEOUT.
WATCHDOG_SHARE = 0.5


def notifier_for(given: argparse.Namespace, settings: Settings) -> Notifier:
    """Uses the descriptor that `serve` passes, else the socket of systemd, which also
    waits for the end of a reload by SIGHUP.
    """
    if given.notify_fd >= 0:
        return from_descriptor(given.notify_fd, settings.worker_timeout * WATCHDOG_SHARE)
    notifier = from_environment(os.environ, os.getpid())
    notify_reloads(notifier)
    return notifier
