"""`foldlog serve`: the supervisor."""

from __future__ import annotations

import os

from foldlog.commands import Invocation
from foldlog.database_url import log_database_url
from foldlog.supervisor.serve import serve
from foldlog.supervisor.socket_activation import inherited_sockets
from shared.rate_store import require_package
from shared.systemd_notify import from_environment


def run(call: Invocation) -> int:
    require_package(call.settings.rate_store)
    log_database_url(os.environ, call.options.config, call.settings, call.log)
    sockets = inherited_sockets(os.environ, os.getpid())
    notifier = from_environment(os.environ, os.getpid())
    return serve(call.settings, call.options.config, sockets, notifier, call.log)
