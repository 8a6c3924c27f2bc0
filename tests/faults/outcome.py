"""What a programme measured: one row of the table in tests/faults/RESULTS.md, with what
is needed to repeat it.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.oracle import Violations

HEADINGS = (
    "fault",
    "points",
    "runs",
    "acknowledged",
    "lost",
    "double",
    "phantom",
    "slowest restart",
    "seeds",
    "file system",
    "seconds",
    "command",
)


@dataclass
class Outcome:
    """Sums over the runs of one programme. `points` are different places at which the
    fault was made to happen.
    """

    fault: str
    command: str
    file_system: str
    seeds: str = "-"
    points: int = 0
    runs: int = 0
    acknowledged: int = 0
    lost: int = 0
    double: int = 0
    phantom: int = 0
    restart_s: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, violations: Violations, acknowledged: int, where: str, restart_s: float = 0.0) -> None:
        """Count one run. `where` says how to repeat it if something was found."""
        self.runs += 1
        self.acknowledged += acknowledged
        self.lost += len(violations.lost)
        self.double += len(violations.double)
        self.phantom += len(violations.phantom)
        self.restart_s = max(self.restart_s, restart_s)
        if violations:
            self.failures.append(f"{where}: {violations}")

    def row(self) -> str:
        """As in tests/faults/RESULTS.md."""
        cells = (
            self.fault,
            f"{self.points:,}",
            f"{self.runs:,}",
            f"{self.acknowledged:,}",
            self.lost,
            self.double,
            self.phantom,
            f"{self.restart_s:.1f} s" if self.restart_s else "-",
            self.seeds,
            self.file_system,
            f"{self.seconds:,.0f}",
            f"`{self.command}`",
        )
        return "| " + " | ".join(str(cell) for cell in cells) + " |"

    def play(self, run: Callable[[], Iterable[object]], directory: Path) -> int:
        """Time a run and print what it returns. Its directory is deleted unless
        something failed. Returns the exit code.
        """
        began = time.monotonic()
        for line in run():
            print(line)
        self.seconds = time.monotonic() - began
        if not self.failures:
            shutil.rmtree(directory)
        return self.say()

    def say(self) -> int:
        """Print the row, the bound that it gives, and what failed. Returns the exit
        code: 1 when something did.
        """
        print("| " + " | ".join(HEADINGS) + " |")
        print(self.row())
        print(f"Linux {platform.release()}, Python {platform.python_version()}, commit {commit()}")
        if not self.failures and self.runs:
            print(
                f"no failure in {self.runs:,} runs: with 95% confidence fewer than {3 / self.runs:.3%} of such runs "
                f"fail (3/N)"
            )
        for remark in self.remarks[:20]:
            print(f"remarked: {remark}")
        for failure in self.failures[:20]:
            print(f"FAILED {failure}")
        return 1 if self.failures else 0


def commit() -> str:
    """What was tested: the commit, and whether something was changed on top of it."""
    described = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def file_system(path: Path) -> str:
    """The type of the file system that holds a path, as the kernel names it: `ext4`,
    `tmpfs`.
    """
    mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    place = path.resolve()
    holding = [mount for mount in mounts if place.is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2]
