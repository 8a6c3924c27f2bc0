"""The stores that the contract is tried with: SQLite, and each PostgreSQL there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import required

KINDS = [
    "sqlite",
    pytest.param("system", marks=pytest.mark.component),
    pytest.param("packaged", marks=[pytest.mark.component, pytest.mark.long]),
]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def server_of_kind(kind: str, request: pytest.FixtureRequest) -> Iterator[Server | None]:
    """None for SQLite."""
    if kind == "sqlite":
        yield None
    elif kind == "system":
        yield request.getfixturevalue("postgres")
    else:
        with running(required(kind), quick=True) as server:
            yield server


@pytest.fixture
def address(server_of_kind: Server | None, tmp_path: Path) -> str:
    """FOLDLOG_STORE of an empty store of each kind."""
    return server_of_kind.database() if server_of_kind else f"sqlite:///{tmp_path / 'analytics.db'}"
