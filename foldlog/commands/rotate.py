"""`foldlog rotate`: the writers seal their segments."""

from __future__ import annotations

from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from shared.disk.control_files import seal_and_wait
from shared.exit_codes import SUCCESS

TIMEOUT_S = 10.0


def run(call: Invocation) -> int:
    seal_and_wait(require_data_dir(call.data), TIMEOUT_S)
    return SUCCESS
