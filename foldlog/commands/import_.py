"""`foldlog import`: the requests of an access log become events."""

from __future__ import annotations

from pathlib import Path

from foldlog.commands import Invocation
from foldlog.importers.combined import Imported, import_combined
from foldlog.preflight import ensure_data_dir
from foldlog.terminal import Console, bytes_done
from shared.exit_codes import SUCCESS
from shared.settings import SettingsError
from shared.stores.instance import check_instance


def run(call: Invocation) -> int:
    site = call.options.site or next(iter(call.settings.sites), None)
    if site is None:
        raise SettingsError("an access log does not contain its site: add --site example.com")
    file = Path(call.options.file)
    if not file.is_file():
        raise SettingsError(f"there is no file {file}")
    check_instance(call.data, call.settings.instance)
    ensure_data_dir(call.data)
    with bytes_done(Console(stderr=True), file.stat().st_size) as progress:
        done = import_combined(file, site, call.data, call.settings, call.log, progress)
    print(summary(done))
    return SUCCESS


def summary(done: Imported) -> str:
    """`9 lines: 6 events appended, 1 other requests, 2 rejected (2 not in combined
    format, first line 4)`.
    """
    rejected = sum(each.lines for each in done.rejected.values())
    reasons = "; ".join(f"{each.lines} {why}, first line {each.first}" for why, each in sorted(done.rejected.items()))
    shown = f"{rejected} rejected ({reasons})" if reasons else "0 rejected"
    return f"{done.lines} lines: {done.events} events appended, {done.skipped} other requests, {shown}"
