"""The house: who may import whom, and that the two stories stay readable."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.builders.pages import ROOT
from tests.faults.mutant import Mutant
from tests.faults.mutants import MUTANTS

PACKAGES = ("foldlog", "ingest", "reports", "compactor", "shared", "web")
# Who may import whom. `ingest` uses the client side of `reports` only: no process that
# takes events loads DuckDB.
MAY_IMPORT = {
    "shared": set(),
    "web": set(),
    "reports": {"shared"},
    "compactor": {"shared"},
    "ingest": {"shared", "reports", "web"},
    "foldlog": {"shared", "reports", "compactor", "ingest", "web"},
}
# The types of parameters, for the OpenAPI document; the client of the reader; which
# parameters each kind of report takes, and how goals are passed to it.
GRAMMAR = {
    *(
        "reports.calendar",
        "reports.query",
        "reports.query_error",
        "reports.compare",
        "reports.dimensions",
        "reports.filters",
        "reports.measures.names",
    ),
}
CLIENT_SIDE = GRAMMAR | {
    *("reports.encode", "reports.reader.client"),
    *(
        "reports.kinds",
        "reports.kinds.batch",
        "reports.kinds.cohorts",
        "reports.kinds.funnel",
        "reports.kinds.goals",
        "reports.kinds.live",
        "reports.kinds.paths",
        "reports.kinds.visitor_events",
    ),
}
# The modules of `reports` that run queries; the others can be imported without DuckDB.
READS_DATABASE = {
    "reports/batch.py",
    "reports/parquet_rows.py",
    "reports/report.py",
    "reports/export.py",
    "reports/hosts/filtered_parts.py",
    "reports/hosts/hosts_store.py",
    "reports/hosts/part_packs.py",
    "reports/reader/process.py",
    "reports/visits/answer.py",
    "reports/visits/of_events.py",
    "reports/visits/made.py",
}
SQL_WORDS = re.compile(r"\b(SELECT|FROM|WHERE|JOIN|COPY)\b")
# What every command pays for, also `foldlog --version`.
AT_EVERY_START = (
    "foldlog/cli.py",
    "foldlog/arguments.py",
    "foldlog/guarded_output.py",
    "foldlog/__main__.py",
    "foldlog/__init__.py",
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def imports(path: Path, *, at_import_time: bool = False) -> frozenset[str]:
    """The modules of this project that a module imports; `from a.b import c` counts as
    `a.b`, and as `a.b.c` where that is a module.
    """
    tree = ast.parse(path.read_text("utf-8"))
    found = set()
    for node in tree.body if at_import_time else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {_module(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(name for name in found if name.partition(".")[0] in PACKAGES)


def _module(package: str, name: str) -> str:
    inside = ROOT / package.replace(".", "/") / name
    return f"{package}.{name}" if inside.with_suffix(".py").exists() or inside.is_dir() else package


def test_the_rooms_exist() -> None:
    assert all(modules(package) for package in PACKAGES)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_is_below_it(package: str) -> None:
    for path in modules(package):
        used = {name.partition(".")[0] for name in imports(path)} - {package}
        assert used <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {used - MAY_IMPORT[package]}"


def test_ingest_uses_the_client_side_of_reports_only() -> None:
    for path in modules("ingest"):
        used = {name for name in imports(path) if name.startswith("reports")}
        assert used <= CLIENT_SIDE | {"reports"}, path.relative_to(ROOT)


def test_client_side_of_reports_parses_no_parameters() -> None:
    """A range that is costly to parse would hold up the events."""
    reached = _reachable_files(ROOT / "reports/reader/client.py")
    assert ROOT / "reports/reader/question.py" in reached
    assert reached.isdisjoint({ROOT / "reports/query.py", ROOT / "reports/calendar.py"})


@pytest.mark.parametrize("path", modules("reports"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_reports_reach_the_database_only_where_they_read(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() not in READS_DATABASE:
        assert not {file.name for file in _reachable_files(path) if "duckdb" in _imported_names(file)}


@pytest.mark.parametrize("path", modules("reports"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sql_of_reports_is_in_its_package(path: Path) -> None:
    if not path.is_relative_to(ROOT / "reports/sql"):
        strings = [
            node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)
        ]
        assert not [text for text in strings if isinstance(text, str) and SQL_WORDS.search(text)]


def _reachable_files(path: Path) -> set[Path]:
    """A module and all modules of the project that it imports, directly or not."""
    found: set[Path] = set()
    waiting = {path}
    while waiting:
        file = waiting.pop()
        found.add(file)
        inside = (ROOT / name.replace(".", "/") for name in imports(file))
        waiting |= {each for name in inside for each in (name.with_suffix(".py"), name / "__init__.py")} - found
        waiting = {each for each in waiting if each.exists()}
    return found


def _imported_names(path: Path) -> set[str]:
    """The top-level packages that a module imports, of the project or not."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
    return found


def test_tests_share_through_builders_and_never_through_each_other() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
                assert ".test_" not in str(node.module), path.relative_to(ROOT)


@pytest.mark.parametrize("file", AT_EVERY_START)
def test_start_imports_only_shared_and_its_own_arguments(file: str) -> None:
    allowed = {"foldlog", "foldlog.argument_types", "foldlog.arguments", "foldlog.cli", "foldlog.guarded_output"}
    used = imports(ROOT / file, at_import_time=True)
    assert {name for name in used if not name.startswith("shared")} <= allowed


def test_every_module_of_shared_is_used_by_two_packages() -> None:
    users: dict[str, set[str]] = {}
    for package in ("foldlog", "ingest", "reports", "compactor"):
        for path in modules(package):
            for name in reachable(path):
                users.setdefault(name, set()).add(package)
    for path in modules("shared"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.stem != "__init__":
            assert len(users.get(name, ())) > 1, f"{name} is used by {users.get(name)} alone: move it there"


def reachable(path: Path) -> set[str]:
    """What a module imports of `shared`, and what that imports there."""
    found: set[str] = set()
    waiting = set(imports(path))
    while waiting:
        name = waiting.pop()
        file = ROOT / f"{name.replace('.', '/')}.py"
        if name not in found and name.startswith("shared.") and file.exists():
            found.add(name)
            waiting |= imports(file)
    return found


def test_the_two_stories_stay_short() -> None:
    for path, name in (("ingest/collect/handler.py", "post_events"), ("compactor/run_pass.py", "run_pass")):
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        (story,) = [node for node in ast.walk(tree) if getattr(node, "name", None) == name]
        assert isinstance(story, (ast.AsyncFunctionDef, ast.FunctionDef))
        assert (story.end_lineno or 0) - story.lineno <= 34, name


def test_no_statement_takes_a_folder_for_a_partition() -> None:
    """`env=prod` above the data directory would be a column of every row."""
    for package in ("shared", "reports", "compactor", "ingest", "foldlog"):
        for path in [*(ROOT / package).rglob("*.py"), *(ROOT / package).rglob("*.sql")]:
            text = path.read_text("utf-8")
            for call in re.finditer(r"(?<![.\w])(?:read_(?:parquet|json|csv|ndjson|text|blob)|parquet_scan)\(", text):
                rest = text[call.end() : call.end() + 400].partition("\n\n")[0]
                assert "hive_partitioning = false" in rest or "{options}" in rest or "{', '.join(" in rest, (
                    path,
                    call[0],
                )


def test_sql_of_more_than_three_lines_has_a_file_of_its_own() -> None:
    """There it can be read, and explained by DuckDB."""
    for path in modules("compactor"):
        tree = ast.parse(path.read_text("utf-8"))
        wrong = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, (ast.Constant, ast.JoinedStr)) and (node.end_lineno or 0) - node.lineno >= 3
            if re.search(r"\b(SELECT|INSERT|CREATE)\b", ast.unparse(node))
        ]
        assert not wrong, f"{path.relative_to(ROOT)}:{wrong}: move it to a .sql file beside the module"


@pytest.mark.parametrize("package", PACKAGES)
def test_decoders_are_made_ahead(package: str) -> None:
    """msgspec describes a type to itself when it is first decoded; two threads that do
    so at once end the process (0.22).
    """
    for path in modules(package):
        wrong = [
            node.lineno
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)).startswith("msgspec.")
            if called == "msgspec.convert"
            or (called.endswith(".decode") and {each.arg for each in node.keywords} & {"type"})
        ]
        assert not wrong, f"{path.relative_to(ROOT)}:{wrong}: make the decoder where the module is imported"


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_each_mutant_finds_the_text_that_it_replaces(mutant: Mutant) -> None:
    """`make mutants` takes long and runs seldom: it should not begin with a text that
    has changed.
    """
    before = {edit.file: (ROOT / edit.file).read_text("utf-8") for edit in mutant.edits}
    assert [before[edit.file].count(edit.old) for edit in mutant.edits] == [1] * len(mutant.edits)
    for edit in (each for each in mutant.edits if each.file.endswith(".py")):
        ast.parse(before[edit.file].replace(edit.old, edit.new))  # else any test would notice it
