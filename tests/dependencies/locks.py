"""The lock files in locks/: the versions of constraints.txt with the hashes of all
their files, so that an index cannot hand out others. `make lock` writes them.

Each version is in one file. `service` is what Foldlog needs to run, `stores` the
drivers of PostgreSQL and Redis, `build` what makes the package, `dev` the rest of `make
setup`, `tools` and `fuzz` what single targets of the Makefile need.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
# In this order: what an earlier file has, a later one leaves out. What no extra needs
# (the engine of ClickHouse) is in `dev`.
EXTRAS = {
    "service": (),
    "build": (),
    "stores": ("postgres", "redis"),
    "dev": ("dev",),
    "tools": ("tools",),
    "fuzz": ("fuzz",),
}
# hatchling, what it depends on, and what an editable installation needs.
BUILD = {"editables", "hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers"}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?![0-9a-f])")
_OPTIONS = ("--universal", "--python-version", "3.11", "--no-annotate", "--no-header", "--quiet")


def lock_file(name: str) -> Path:
    return ROOT / "locks" / f"{name}.lock"


def canonical(name: str) -> str:
    """A name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Versions by canonical name."""
    return {canonical(name): version for name, version in _PIN.findall(text)}


def hashes(text: str) -> dict[str, list[str]]:
    """Hashes of the files of each version, by canonical name."""
    blocks = re.split(r"\n(?=\S)", text)
    return {canonical(found[1]): _HASH.findall(block) for block in blocks if (found := _PIN.match(block))}


def main() -> int:
    entries = {
        canonical(_name(each)): each for each in re.split(r"\n(?=\S)", _compile(CONSTRAINTS, "--generate-hashes"))
    }
    left = dict(entries)
    parts: dict[str, dict[str, str]] = {}
    for file, extras in EXTRAS.items():
        needed = BUILD if file == "build" else _needed(extras)
        needed |= {"pip"} if file == "dev" else set()
        parts[file] = {name: left.pop(name) for name in sorted(needed & left.keys())}
    parts["dev"] |= left
    for file, found in parts.items():
        lock_file(file).write_text("".join(f"{found[name].rstrip()}\n" for name in sorted(found)), "utf-8")
        print(f"{lock_file(file).relative_to(ROOT)}: {len(found)}")
    return 0


def _name(entry: str) -> str:
    found = _PIN.match(entry)
    assert found, entry
    return found[1]


def _needed(extras: tuple[str, ...]) -> set[str]:
    options = [word for extra in extras for word in ("--extra", extra)]
    return set(pins(_compile(ROOT / "pyproject.toml", "--constraint", str(CONSTRAINTS), *options, deps=True)))


def _compile(source: Path, *options: str, deps: bool = False) -> str:
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", source, *_OPTIONS, *options]
    done = subprocess.run(
        [*map(str, command), *([] if deps else ["--no-deps"])], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        sys.exit(f"uv could not resolve {source.name}:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
