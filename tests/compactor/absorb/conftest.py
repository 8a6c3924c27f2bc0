"""The store of three hosts, which is filled once a module: each test has a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.builders.absorbing import fill
from tests.builders.postgres import Server


@pytest.fixture(scope="module")
def filled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Their directories, and the store."""
    root, store = tmp_path_factory.mktemp("filled"), server.database()
    fill(root, store)
    return root, store


@pytest.fixture
def store(server: Server, filled: tuple[Path, str], tmp_path: Path) -> str:
    """A copy of it, beside copies of the directories, as `hosts_of` finds them."""
    shutil.copytree(filled[0], tmp_path, dirs_exist_ok=True)
    return server.copy_of(filled[1])
