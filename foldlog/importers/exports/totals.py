"""What an export says of itself beside what was imported of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Totals:
    """Counts by kind (`page views`, `events`, …). `said`: of the tool itself, empty
    where its export has no totals; `listed`: of its rows; `appended`: of events.
    """

    file: str
    tool: str
    said: Counter[str] = field(default_factory=Counter)
    listed: Counter[str] = field(default_factory=Counter)
    appended: Counter[str] = field(default_factory=Counter)
    # What is listed besides, such as how many of the rows begin a visit.
    besides: Counter[str] = field(default_factory=Counter)

    @property
    def is_equal(self) -> bool:
        """Whether every row became an event, and the tool's own totals are these."""
        said = {kind: self.said[kind] for kind in self.said if kind in self.listed or self.said[kind]}
        listed = {kind: self.listed[kind] for kind in said}
        return +self.listed == +self.appended and said == listed

    def lines(self, *, dry_run: bool = False) -> list[str]:
        """Two lines, or three where the tool gives totals."""
        head = f"{self.file}: {self.tool}'s rows: {_counts(self.listed | self.besides)}"
        said = [f"  its own totals: {_counts(self.said)}"] if self.said else []
        verdict = "equal" if self.is_equal else "unequal"
        verb = "would be appended" if dry_run else "appended"
        return [head, *said, f"  {verb}: {_counts(self.appended)}: {verdict}"]


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items())) or "none"
