"""The PostgreSQL of the worker, under the name that these tests have for it."""

from __future__ import annotations

import pytest

from tests.builders.postgres import Server


@pytest.fixture(scope="module")
def server(postgres: Server) -> Server:
    return postgres
