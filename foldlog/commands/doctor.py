"""`foldlog doctor`: what would go wrong on this host, and what to type."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence

import orjson
from rich.console import Console

from foldlog.doctor.examine import examine
from foldlog.doctor.host_findings import Finding
from foldlog.terminal import plain
from shared.disk.layout import DataDirectory
from shared.exit_codes import PROBLEMS, SUCCESS
from shared.log import Log
from shared.settings import Settings

_LEVELS = {"ok": "", "warning": "yellow", "wrong": "bold red", "unknown": "dim"}
_FOUND_AT = 25


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    found = examine(data, settings)
    if given.json:
        findings = [finding._asdict() for finding in found]
        sys.stdout.buffer.write(orjson.dumps(findings, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        show(Console(), found)
    return PROBLEMS if any(finding.level == "wrong" for finding in found) else SUCCESS


def show(console: Console, found: Sequence[Finding]) -> None:
    """A line for each check, below it what to do; at the end how many are not well."""
    width = max(60, console.width) if console.is_terminal else 1 << 20
    for finding in found:
        level = "WRONG" if finding.level == "wrong" else finding.level
        texts = [finding.found, *([f"to do: {finding.do}"] if finding.do else [])]
        lines = [line for text in texts for line in textwrap.wrap(text, width - _FOUND_AT, break_on_hyphens=False)]
        for number, line in enumerate(lines):
            head = f"{level:8} {finding.check:15} " if number == 0 else " " * _FOUND_AT
            console.print(plain(head + line), style=_LEVELS[finding.level] if number == 0 else "", soft_wrap=True)
    wrong, warnings = (sum(finding.level == level for finding in found) for level in ("wrong", "warning"))
    said = f"{wrong} wrong, {warnings} to look at" if wrong or warnings else "nothing wrong"
    console.print(plain(said), style="bold", soft_wrap=True)
