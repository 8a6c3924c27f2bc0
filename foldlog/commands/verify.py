"""`foldlog verify`: count everything again and compare it with what is published."""

from __future__ import annotations

from compactor.repair.verify import Verified, verify
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.terminal import Console, plain, steps
from shared.exit_codes import PROBLEMS, SUCCESS


def run(call: Invocation) -> int:
    with steps(Console(stderr=True), "checking") as progress:
        verified = verify(require_data_dir(call.data), call.settings, progress)
    show(Console(), verified)
    return PROBLEMS if verified.findings else SUCCESS


def show(console: Console, verified: Verified) -> None:
    """How much was checked, then each finding with its action."""
    checked = f"{verified.segments:,} segments, {verified.lines:,} lines, {verified.parts:,} parts"
    absorbed = f", of which retired hosts had counted {verified.absorbed:,}" if verified.absorbed else ""
    console.print(plain(f"checked {checked}, {verified.events:,} events{absorbed}"))
    for finding in verified.findings:
        console.print(plain(f"WRONG {finding.where}: {finding.problem}. To do: {finding.action}."))
    if not verified.findings:
        console.print("nothing wrong")
