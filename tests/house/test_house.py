"""The house: who may import whom, and that the two stories stay readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PACKAGES = ("foldlog", "ingest", "compactor", "shared")
FORBIDDEN = {
    "ingest": {"compactor", "foldlog"},
    "compactor": {"ingest", "foldlog"},
    "shared": {"ingest", "compactor", "foldlog"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).glob("*.py"))


def imports(path: Path) -> set[str]:
    """The packages of this project that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def test_the_rooms_exist() -> None:
    assert all(len(modules(package)) > 3 for package in PACKAGES)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_never_imports(package: str) -> None:
    for path in modules(package):
        wrong = {name for name in imports(path) if name.partition(".")[0] in FORBIDDEN[package]}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_shared_holds_only_what_both_halves_use() -> None:
    used = {half: set().union(*(reachable(path) for path in modules(half))) for half in ("ingest", "compactor")}
    for path in modules("shared"):
        name = f"shared.{path.stem}"
        if path.stem != "__init__":
            assert name in used["ingest"] and name in used["compactor"], f"{name} is not used by both halves"


def reachable(path: Path) -> set[str]:
    """What a module imports, and what that imports within `shared`."""
    found: set[str] = set()
    waiting = imports(path)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name.startswith("shared."):
                waiting |= imports(ROOT / f"{name.replace('.', '/')}.py")
    return found


def test_the_two_stories_stay_short() -> None:
    for path, name in (("ingest/collect/handler.py", "post_events"), ("compactor/run_pass.py", "run_pass")):
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        (story,) = [node for node in ast.walk(tree) if getattr(node, "name", None) == name]
        assert isinstance(story, (ast.AsyncFunctionDef, ast.FunctionDef))
        assert (story.end_lineno or 0) - story.lineno <= 36, name


@pytest.mark.parametrize("package", PACKAGES)
def test_decoders_are_made_ahead(package: str) -> None:
    """msgspec describes a type to itself when it is first decoded; two threads that do so at once end the process (0.22)."""
    for path in modules(package):
        wrong = [
            node.lineno
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)).startswith("msgspec.")
            if called == "msgspec.convert" or (called.endswith(".decode") and {each.arg for each in node.keywords} & {"type"})
        ]
        assert not wrong, f"{path.relative_to(ROOT)}:{wrong}: make the decoder where the module is imported"


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_each_mutant_finds_the_text_that_it_replaces(mutant: Mutant) -> None:
    """`make mutants` takes long and runs seldom: it should not begin with a text that has changed."""
    before = {edit.file: (ROOT / edit.file).read_text("utf-8") for edit in mutant.edits}
    assert [before[edit.file].count(edit.old) for edit in mutant.edits] == [1] * len(mutant.edits)
    for edit in mutant.edits:
        ast.parse(before[edit.file].replace(edit.old, edit.new))  # else any test would notice it
