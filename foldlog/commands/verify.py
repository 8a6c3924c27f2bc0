"""`foldlog verify`: everything is counted again and compared."""

from __future__ import annotations

import argparse

from rich.console import Console

from compactor.repair.verify import Verified, verify
from foldlog.preflight import require_data_dir
from foldlog.terminal import plain, steps
from shared.disk.layout import DataDirectory
from shared.exit_codes import DONE, WRONG
from shared.log import Log
from shared.settings import Settings


def run(_given: argparse.Namespace, settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    with steps(Console(stderr=True)) as progress:
        verified = verify(require_data_dir(data), settings, progress)
    show(Console(), verified)
    return WRONG if verified.findings else DONE


def show(console: Console, done: Verified) -> None:
    """What was checked, then each finding with what to do."""
    console.print(
        plain(f"checked {done.segments:,} segments, {done.lines:,} lines, {done.parts:,} parts, {done.events:,} events")
    )
    for finding in done.findings:
        console.print(plain(f"WRONG {finding.where}: {finding.what}. To do: {finding.do}."))
    if not done.findings:
        console.print("nothing wrong")
