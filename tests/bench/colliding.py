"""Texts of one hash value, or of two, beside random ones of equal length: what a fold,
the merge of their day and a report cost.
"""

from __future__ import annotations

from pathlib import Path

from ingest.collect.encode import Line
from tests.bench import fold
from tests.bench.checkout import Checkout, Costs, ask, cpu_seconds, family, started
from tests.bench.compacting import NEVER, compacting, make_older, totals
from tests.bench.figures import Figure
from tests.builders.floods import Flood, colliding_texts
from tests.builders.logs import sealed

TEXTS = 100_000
WANTED_RATIO = 1.5
PASS_S = 600.0
REPORTS = ("&by=path", "&interval=hour", "&by=event&visitors=exact&filter=path!=/")
_DAY = "/admin/api/report?from=2026-11-22&to=2026-11-22"
# Where the texts are, and whether they are of the family that needs long fields.
FAMILIES = {
    "visitors of one hash value": ("visitor", False),
    "paths of one hash value": ("path", False),
    "paths of two under any prefix": ("path", True),
}


def costs(checkout: Checkout, root: Path) -> Costs:
    found: Costs = {}
    for name, (place, under_any_prefix) in FAMILIES.items():
        flood = colliding_texts(place, TEXTS, under_any_prefix=under_any_prefix)
        for kind, lines in zip(Flood._fields, flood, strict=True):
            directory = root / f"{len(found)}-{kind}"
            directory.mkdir()
            what = f"{TEXTS:,} {name}" if kind == "attack" else f"random texts beside {TEXTS:,} {name}"
            for step, seconds in _measure(checkout, directory, lines).items():
                found[f"{what}: {step}, CPU s"] = seconds
    return found


def _measure(checkout: Checkout, root: Path, lines: list[Line]) -> Costs:
    """CPU seconds of each step, NEVER where one does not end, and of those after it."""
    data, half, version = fold.fresh(root / "data"), len(lines) // 2, checkout.line_version()
    for each in lines:
        each.v = version
    found = dict.fromkeys(("fold", "day merge", "reports"), NEVER)
    with compacting(checkout, data) as compactor:
        folds = 0.0
        for first, end in ((0, half), (half, len(lines))):
            sealed(data, lines[first:end])
            folds += compactor.fold(end, PASS_S)
            if folds == NEVER:
                return found
    found["fold"] = folds
    if totals(data)["counted"] != len(lines):
        raise AssertionError(f"{len(lines)} events were written, {totals(data)['counted']} are counted")
    make_older(data)
    with compacting(checkout, data, begin=False) as compactor:
        found["day merge"] = compactor.idle(PASS_S)
    found["reports"] = _reports(checkout, data.root)
    return found


def _reports(checkout: Checkout, data: Path) -> float:
    with started(checkout, data, "/readyz", "serve") as (pid, port):
        ask(port, "/admin/api/report?from=2026-11-01&to=2026-11-01")  # the reader is started
        before = cpu_seconds(family(pid))
        try:
            for report in REPORTS:
                ask(port, f"{_DAY}{report}", PASS_S)
        except OSError:
            return NEVER
        return cpu_seconds(family(pid)) - before


def figures(found: Costs) -> list[Figure]:
    """Each step with texts that collide / with random ones."""
    made, names = [], list(found)
    steps = 3
    for start in range(0, len(names), 2 * steps):
        for attack, control in zip(names[start : start + steps], names[start + steps :], strict=False):
            what = f"{attack.removesuffix(', CPU s')} / of random ones"
            ratio = found[attack] / max(found[control], 0.01)
            made.append(Figure(what, ratio, "{:.2f}", WANTED_RATIO, less_is_better=True, is_ratio=True))
    return made
