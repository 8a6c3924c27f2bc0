"""Whom a worker or a compactor tells how it is: `serve`, or systemd."""

from __future__ import annotations

import argparse
import os

from foldlog.log_output import notify_reloads
from foldlog.supervisor.children import WATCHDOG_SHARE
from shared.settings import Settings
from shared.systemd_notify import Notifier, from_descriptor, from_environment


def notifier_for(given: argparse.Namespace, settings: Settings) -> Notifier:
    """`serve` gives a descriptor; systemd also wants to know when SIGHUP was
    handled.
    """
    if given.notify_fd >= 0:
        return from_descriptor(given.notify_fd, settings.worker_timeout * WATCHDOG_SHARE)
    notifier = from_environment(os.environ, os.getpid())
    notify_reloads(notifier)
    return notifier
