"""`foldlog doctor`: what would go wrong on this host, and what to type."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from foldlog.commands import Invocation
from foldlog.database_url import ignored_database_url
from foldlog.doctor.examine import examine
from foldlog.doctor.finding import Finding
from foldlog.guarded_output import program_output
from foldlog.terminal import Console, plain
from shared.control_chars import escape_control_chars
from shared.exit_codes import PROBLEMS, SUCCESS
from shared.settings import CONFIG_FILE

_STYLES = {"ok": "", "warning": "yellow", "wrong": "bold red", "unknown": "dim"}
_TEXT_COLUMN = 25


def run(call: Invocation) -> int:
    config = call.options.config or os.environ.get(CONFIG_FILE)
    ignored_url = ignored_database_url(os.environ, call.options.config)
    found = examine(call.data, call.settings, ignored_url, Path(config) if config else None)
    if call.options.json:
        findings = [finding._asdict() for finding in found]
        program_output().write(escape_control_chars(orjson.dumps(findings, option=orjson.OPT_INDENT_2) + b"\n"))
    else:
        show(Console(), found)
    return PROBLEMS if any(finding.level == "wrong" for finding in found) else SUCCESS


def show(console: Console, found: Sequence[Finding]) -> None:
    """Each finding with what to do; at the end how many are wrong."""
    width = max(60, console.width) if console.is_terminal else 1 << 20
    for finding in found:
        for number, line in enumerate(_lines(finding, width)):
            style = _STYLES[finding.level] if number == 0 else ""
            console.print(plain(line), style=style, soft_wrap=True)
    wrong, warnings = (sum(finding.level == level for finding in found) for level in ("wrong", "warning"))
    total = f"{wrong} wrong, {warnings} warnings" if wrong or warnings else "nothing wrong"
    console.print(plain(total), style="bold", soft_wrap=True)


def _lines(finding: Finding, width: int) -> Iterator[str]:
    texts = [finding.found, *([f"to do: {finding.do}"] if finding.do else [])]
    level = "WRONG" if finding.level == "wrong" else finding.level
    label = f"{level:8} {finding.check:15} "
    for text in texts:
        for line in textwrap.wrap(text, width - _TEXT_COLUMN, break_on_hyphens=False):
            yield label + line
            label = " " * _TEXT_COLUMN
