"""A store of its own for each test, which hosts share."""

from __future__ import annotations

import pytest

from tests.builders.postgres import Server


@pytest.fixture
def address(postgres: Server) -> str:
    return postgres.database()
