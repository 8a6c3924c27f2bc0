"""`foldlog compact`: the compactor, on schedule or once; or the merge of one day."""

from __future__ import annotations

from compactor.merge_command import merge_now
from compactor.process import Compactor, compact_once, run_compactor
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.supervisor.notifier import notifier_for
from shared.disk.durable import make_data_directory
from shared.exit_codes import SUCCESS
from shared.stores.instance import check_instance
from shared.timestamps import now_ms


def run(call: Invocation) -> int:
    settings, log = call.settings, call.log
    check_instance(call.data, settings.instance)
    if call.options.merge:
        merge_now(require_data_dir(call.data), settings, log, call.options.merge, now_ms)
        return SUCCESS
    if not call.options.once and not call.options.retry:
        return run_compactor(settings, log, notifier_for(call.options, settings), supervised=call.options.supervised)
    make_data_directory(call.data)
    Compactor(call.data, settings, log).begin()
    compact_once(call.data, settings, log, retry=call.options.retry)
    return SUCCESS
