"""`foldlog ingest`: one worker."""

from __future__ import annotations

import os
import re

from foldlog.commands import Invocation
from foldlog.supervisor.notifier import notifier_for
from foldlog.supervisor.socket_activation import inherited_sockets
from ingest.observe.doctor import DoctorCommand
from ingest.worker import Start, run_worker
from shared.rate_store import require_package
from shared.settings import SettingsError
from shared.stores.instance import check_instance


def run(call: Invocation) -> int:
    given = call.options
    if not re.fullmatch("[a-z0-9_]{1,32}", given.writer):
        raise SettingsError("--writer takes 1 to 32 of a-z, 0-9 and _")
    require_package(call.settings.rate_store)
    check_instance(call.data, call.settings.instance)
    sockets = inherited_sockets(os.environ, os.getpid(), given.listen_fd)
    doctor = DoctorCommand(("--config", given.config) if given.config else (), dict(os.environ))
    start = Start(doctor, given.supervised, given.rate_table, sockets, notifier_for(given, call.settings))
    return run_worker(call.settings, given.writer, call.log, start)
