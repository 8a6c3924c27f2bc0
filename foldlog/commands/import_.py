"""`foldlog import`: the requests of an access log become events."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from foldlog.importers.combined import import_combined
from foldlog.preflight import ensure_data_dir
from foldlog.terminal import bytes_done
from shared.disk.layout import DataDirectory
from shared.exit_codes import SUCCESS
from shared.log import Log
from shared.settings import Settings, SettingsError


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, log: Log) -> int:
    """Returns the exit code."""
    site = given.site or (settings.sites[0] if settings.sites else None)
    if site is None:
        raise SettingsError("the log does not say which site it is from: give --site example.com")
    file = Path(given.file)
    if not file.is_file():
        raise SettingsError(f"there is no file {file}")
    ensure_data_dir(data)
    with bytes_done(Console(stderr=True), file.stat().st_size) as progress:
        done = import_combined(file, site, data, settings, log, progress)
    left_out = f"{done.skipped} other requests, {done.unreadable} not understood"
    print(f"{done.lines} lines: {done.events} events appended, {left_out}")
    return SUCCESS
