"""`make red-team`: every known attack beside its honest control.

    python -m tests.faults.hostile [--only NAME] [--quick] [--checkout DIR]

Each takes place in a server of its own, with the product's own defaults. `--checkout`
attacks another source tree, with the interpreter of its .venv; two tables then stand
side by side. The whole takes a quarter of an hour on two cores. Ends with 1 if an
attack was not held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.bench.checkout import THIS, Checkout
from tests.faults.hostile import (
    door_attacks,
    fold_attacks,
    funnel_attacks,
    kind_attacks,
    leaving_attacks,
    page_attacks,
    pixel_attacks,
    reader_attacks,
    secret_attacks,
    share_attacks,
    table,
)
from tests.faults.hostile.cost import SLACK_MS, SLACK_QUICK_MS, Attack, Cost, Scene, wrong_with

ATTACKS: list[Attack] = [
    *fold_attacks.ATTACKS,
    *door_attacks.ATTACKS,
    *pixel_attacks.ATTACKS,
    *reader_attacks.ATTACKS,
    *kind_attacks.ATTACKS,
    *funnel_attacks.ATTACKS,
    *page_attacks.ATTACKS,
    *leaving_attacks.ATTACKS,
    *secret_attacks.ATTACKS,
    *share_attacks.ATTACKS,
]


def main() -> None:
    given = options()
    checkout = Checkout(given.checkout.resolve()) if given.checkout else THIS
    chosen = [attack for attack in ATTACKS if not given.only or attack.name in given.only]
    lines, failed = [table.HEAD], 0
    print(table.HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="red-team-", ignore_cleanup_errors=True) as root:
        for attack in chosen:
            cost, control, wrong = try_out(attack, Scene(checkout, Path(root), given.quick))
            failed += bool(wrong)
            lines += table.rows(attack, cost, control, wrong)
            print("\n".join(lines[-2:]), flush=True)
    if given.write:
        write(given.write, lines)
    sys.exit(f"{failed} of {len(chosen)} attacks were not held" if failed else 0)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[attack.name for attack in ATTACKS], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="each attack smaller: what the tests run")
    parser.add_argument("--checkout", type=Path, metavar="DIR", help="another source tree (default: this one)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page")
    return parser.parse_args()


def try_out(attack: Attack, scene: Scene) -> tuple[Cost, Cost, list[str]]:
    """The costs of an attack and of its control, and why it was not held."""
    place = scene._replace(root=scene.root / attack.name)
    place.root.mkdir()
    try:
        costs = attack.run(place)
    except Exception as error:  # noqa: BLE001  whatever fails is what the attack has done
        traceback.print_exc()
        return Cost(), Cost(), [f"ended with {type(error).__name__}: {error}"]
    return *costs, wrong_with(*costs, attack.bounds, SLACK_QUICK_MS if scene.quick else SLACK_MS)


def write(page: Path, lines: list[str]) -> None:
    """Replace the table of a page."""
    text = page.read_text("utf-8")
    begin = text.index(table.HEAD.partition("\n")[0])
    end = _end_of_table(text, begin)
    page.write_text(text[:begin] + "\n".join(lines) + "\n" + text[end:], "utf-8")


def _end_of_table(text: str, begin: int) -> int:
    found: Iterator[int] = (at for at in range(begin, len(text)) if text.startswith("\n\n", at))
    return next(found, len(text) - 1) + 1


if __name__ == "__main__":
    main()
