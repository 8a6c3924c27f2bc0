"""The table of a run, as it stands in docs/hostile-results.md."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.hostile.cost import Attack, Cost

HEAD = (
    "| attack, and its control | sent | attacker's CPU | answers | CPU | log | memory | processes | CPU of passes "
    "| neighbours' p95: quiet, during | lost | result |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def rows(attack: Attack, cost: Cost, control: Cost, wrong: Sequence[str]) -> list[str]:
    result = f"**not held**: {'; '.join(wrong)}" if wrong else "held"
    return [
        _row(f"**{attack.name}**: {attack.sends}", cost, f"{result}{f' ({cost.said})' if cost.said else ''}"),
        _row(f"control: {attack.control}", control, control.said),
    ]


def _row(name: str, cost: Cost, result: str) -> str:
    p95 = "" if cost.quiet_ms is None else f"{cost.quiet_ms:.0f}, {cost.during_ms or 0:.0f} ms"
    cells = [
        name,
        _sent(cost),
        f"{cost.attacker_cpu_s:.1f} s" if cost.attacker_cpu_s else "",
        cost.answers,
        _shown(cost.product_cpu_s, "{:.1f} s"),
        "" if cost.log_bytes is None else _size(cost.log_bytes),
        _shown(cost.memory_mib, "{:+.0f} MiB"),
        _shown(cost.processes, "{:+d}"),
        _shown(cost.pass_cpu_s, "{:.1f} s"),
        p95,
        str(cost.lost),
        result,
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _sent(cost: Cost) -> str:
    if not cost.requests:
        return ""
    return f"{cost.requests:,} requests, {_size(cost.bytes)}" if cost.bytes else f"{cost.requests:,}"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} KB"
