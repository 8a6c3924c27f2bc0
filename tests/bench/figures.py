"""A measured figure, the table of them, and how they compare with the last ones that
were kept (tests/bench/last.json).
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import orjson

from shared.disk.durable import publish

LAST = Path(__file__).with_name("last.json")
SLOWER_SHARE = 0.10
HEAD = "| what | measured | wanted | against last |\n|---|---|---|---|"


class Figure(NamedTuple):
    """One line of the table. `what` names it from one run to the next.

    `shown` is a format such as `{:.2f} µs`. A ratio was taken within one run and can be
    compared with that of another run; an absolute figure depends on the machine and on
    what else it does. `wanted` is the least or, where less is better, the most.
    """

    what: str
    value: float
    shown: str = "{:.2f}"
    wanted: float | None = None
    less_is_better: bool = False
    is_ratio: bool = False

    @property
    def reached(self) -> bool:
        if self.wanted is None:
            return True
        return self.value <= self.wanted if self.less_is_better else self.value >= self.wanted

    def is_slower(self, last: float) -> bool:
        """Whether this is a ratio that is worse than the last one by more than a
        tenth.
        """
        worse = self.value / last - 1 if self.less_is_better else last / self.value - 1
        return self.is_ratio and worse > SLOWER_SHARE


def row(figure: Figure, last: dict[str, float]) -> str:
    """A line of the table in Markdown."""
    measured = figure.shown.format(figure.value) + ("" if figure.reached else ", **missed**")
    bound = "at most" if figure.less_is_better else "at least"
    wanted = "" if figure.wanted is None else f"{bound} {figure.shown.format(figure.wanted)}"
    return f"| {figure.what} | {measured} | {wanted} | {_against(figure, last.get(figure.what))} |"


def _against(figure: Figure, last: float | None) -> str:
    if not last or not figure.value:
        return ""
    return f"{figure.value / last - 1:+.0%}" + (", **slower**" if figure.is_slower(last) else "")


def load_last(path: Path = LAST) -> dict[str, float]:
    """{what: value} of the figures kept last."""
    if not path.exists():
        return {}
    figures: dict[str, float] = orjson.loads(path.read_bytes())["figures"]
    return figures


def keep(figures: Iterable[Figure], path: Path = LAST) -> None:
    """Keep these figures, beside those of the parts that were not run."""
    kept = load_last(path) | {figure.what: float(f"{figure.value:.4g}") for figure in figures}
    machine = f"{processor()}, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    content = {"machine": machine, "figures": kept}
    publish(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def processor() -> str:
    """The processor's name and how many cores there are."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
