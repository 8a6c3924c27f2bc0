"""`make audit`: known flaws in the versions of locks/, asked of pip-audit.

High and critical ones fail, as do those whose severity no list says; lower ones and
those in locks/accepted-flaws.txt are printed. Where the list of flaws cannot be reached
within a bounded time, that is said, and nothing fails: it says nothing about versions.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tests.dependencies.locks import EXTRAS, ROOT, lock_file

ACCEPTED = ROOT / "locks" / "accepted-flaws.txt"
LIST_TIMEOUT_S = 180
SEVERITY_TIMEOUT_S = 10
SEVERITIES_TIMEOUT_S = 60
LOWER = {"LOW", "MODERATE", "MEDIUM"}
# The database of advisories that is open to all; it names the severity, which pip-audit
# leaves out.
ADVISORIES = "https://api.osv.dev/v1/vulns/"

Severity = Callable[[Iterable[str]], str]


class Flaw(NamedTuple):
    """`ids`: all that it is known by, its own first. `fixed_in`: versions without
    it.
    """

    package: str
    version: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]


class Listed(NamedTuple):
    """What pip-audit found, and of which packages it found no list."""

    flaws: list[Flaw]
    checked: int
    unlisted: list[str]


class Unreachable(Exception):
    """The list of flaws could not be had."""


def main() -> int:
    try:
        listed = parse(run_pip_audit())
    except Unreachable as error:
        print(f"audit: the list of known flaws cannot be reached ({error}): nothing was checked")
        return 0
    lines, fails = judge(listed, accepted(ACCEPTED.read_text("utf-8")), look_up(ADVISORIES))
    print("\n".join(lines))
    return 1 if fails else 0


def run_pip_audit() -> str:
    """Its JSON. Raises Unreachable."""
    files = [word for name in EXTRAS for word in ("--requirement", str(lock_file(name)))]
    options = ["--require-hashes", "--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off"]
    command = [sys.executable, "-m", "pip_audit", *files, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIST_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Unreachable(f"no answer within {LIST_TIMEOUT_S} s") from None
    if not done.stdout.startswith("{"):
        raise Unreachable((done.stderr.strip().splitlines() or ["no output"])[-1][:200])
    return done.stdout


def parse(text: str) -> Listed:
    """What pip-audit printed. Raises Unreachable where it found a list of no
    package.
    """
    found = json.loads(text)["dependencies"]
    unlisted = [each["name"] for each in found if "skip_reason" in each]
    if len(unlisted) == len(found):
        raise Unreachable(f"it has none of {len(found)} packages")
    flaws = [
        Flaw(each["name"], each["version"], (flaw["id"], *flaw.get("aliases", ())), tuple(flaw["fix_versions"]))
        for each in found
        for flaw in each.get("vulns", ())
    ]
    return Listed(flaws, len(found) - len(unlisted), unlisted)


def judge(listed: Listed, accepted: dict[str, str], severity: Severity) -> tuple[list[str], bool]:
    """What to print, and whether that fails."""
    lines, fails = [], False
    for flaw in listed.flaws:
        reasons = [accepted[each] for each in flaw.ids if each in accepted]
        level = severity(flaw.ids)
        is_bad = not reasons and level not in LOWER
        fails = fails or is_bad
        what = f"{flaw.package} {flaw.version}: {flaw.ids[0]}, {level.lower() or 'of unknown severity'}"
        do = f"; mended in {', '.join(flaw.fixed_in)}" if flaw.fixed_in else "; no version mends it"
        lines.append(f"audit: {'FAILS' if is_bad else 'noted'}: {what}{do}" + "".join(f" ({each})" for each in reasons))
    if listed.unlisted:
        lines.append(f"audit: the list does not have {', '.join(listed.unlisted)}")
    lines.append(f"audit: {listed.checked} packages checked, {len(listed.flaws)} known flaws")
    return lines, fails


def accepted(text: str) -> dict[str, str]:
    """Reasons by the id of a flaw: a line each, `#` begins a remark."""
    lines = (line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {id_: reason.strip() for id_, reason in lines}


def look_up(advisories: str) -> Severity:
    """Asks the database of advisories, for so long in all; empty where no answer says
    the severity.
    """
    until = time.monotonic() + SEVERITIES_TIMEOUT_S

    def severity(ids: Iterable[str]) -> str:
        return next((found for found in _severities(advisories, ids, until) if found), "")

    return severity


def _severities(advisories: str, ids: Iterable[str], until: float) -> Iterator[str]:
    for id_ in ids:
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        try:
            with urllib.request.urlopen(advisories + id_, timeout=min(SEVERITY_TIMEOUT_S, left_s)) as answer:  # noqa: S310
                found = json.loads(answer.read(1 << 20)).get("database_specific", {}).get("severity", "")
        except (OSError, ValueError):
            continue
        yield str(found).upper()


if __name__ == "__main__":
    sys.exit(main())
