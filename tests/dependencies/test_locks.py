"""Lock files and constraints.txt agree, and nothing is installed past them."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.dependencies.locks import CONSTRAINTS, EXTRAS, ROOT, canonical, hashes, lock_file, pins

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TEXTS = {name: lock_file(name).read_text("utf-8") for name in EXTRAS}


def names(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=\[ ;]", each)[0]) for each in requirements}


def test_locks_have_the_versions_of_the_constraints_each_once() -> None:
    locked = [(name, version) for text in TEXTS.values() for name, version in pins(text).items()]
    assert len(locked) == len({name for name, _ in locked})
    assert dict(locked) == pins(CONSTRAINTS.read_text("utf-8")), "type `make lock`"


@pytest.mark.parametrize("name", EXTRAS)
def test_each_version_has_hashes_and_no_index_is_named(name: str) -> None:
    found = hashes(TEXTS[name])
    assert found.keys() == pins(TEXTS[name]).keys()
    assert all(found.values())
    entry = re.compile(r"[a-z0-9-]+==[a-zA-Z0-9.+!-]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in TEXTS[name].splitlines() if not entry.fullmatch(line)] == []


def test_service_needs_one_file_and_its_stores_another() -> None:
    extras = PROJECT["optional-dependencies"]
    assert names(PROJECT["dependencies"]) <= pins(TEXTS["service"]).keys()
    assert names([*extras["postgres"], *extras["redis"]]) <= pins(TEXTS["service"] + TEXTS["stores"]).keys()
    assert names([*extras["tools"]]) <= pins(TEXTS["tools"]).keys()
    assert not names(extras["dev"]) & pins(TEXTS["service"]).keys()


@pytest.mark.parametrize("file", ["Makefile", "Containerfile"])
def test_nothing_is_installed_without_hashes_but_the_project(file: str) -> None:
    text = re.sub(r"\\\n", " ", (ROOT / file).read_text("utf-8"))
    installs = re.findall(r"pip (?:install|wheel)([^\n&]*)", text)
    assert installs
    for options in installs:
        assert "--no-deps" in options
        assert "--require-hashes" in options or "--no-build-isolation" in options or "/wheels/" in options, options
