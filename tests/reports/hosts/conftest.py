"""The PostgreSQL of the worker; each test has a database of its own."""

from __future__ import annotations

import pytest

from tests.builders.postgres import Server


@pytest.fixture(scope="module")
def server(postgres: Server) -> Server:
    return postgres


@pytest.fixture
def address(server: Server) -> str:
    return server.database()
