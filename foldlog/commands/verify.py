"""`foldlog verify`: count everything again and compare it with what is published."""

from __future__ import annotations

import argparse

from rich.console import Console

from compactor.repair.verify import Verified, verify
from foldlog.preflight import require_data_dir
from foldlog.terminal import plain, steps
from shared.disk.layout import DataDirectory
from shared.exit_codes import PROBLEMS, SUCCESS
from shared.log import Log
from shared.settings import Settings


def run(_given: argparse.Namespace, settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    with steps(Console(stderr=True)) as progress:
        verified = verify(require_data_dir(data), settings, progress)
    show(Console(), verified)
    return PROBLEMS if verified.findings else SUCCESS


def show(console: Console, verified: Verified) -> None:
    """How much was checked, then each finding with its action."""
    checked = f"{verified.segments:,} segments, {verified.lines:,} lines, {verified.parts:,} parts"
    console.print(plain(f"checked {checked}, {verified.events:,} events"))
    for finding in verified.findings:
        console.print(plain(f"WRONG {finding.where}: {finding.problem}. To do: {finding.action}."))
    if not verified.findings:
        console.print("nothing wrong")
