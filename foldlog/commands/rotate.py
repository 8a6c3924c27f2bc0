"""`foldlog rotate`: the writers seal their segments."""

from __future__ import annotations

from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from shared.disk.control_files import SEAL_TIMEOUT_S, seal_and_wait
from shared.exit_codes import SUCCESS


def run(call: Invocation) -> int:
    seal_and_wait(require_data_dir(call.data), SEAL_TIMEOUT_S)
    return SUCCESS
