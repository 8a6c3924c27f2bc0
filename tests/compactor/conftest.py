"""A PostgreSQL for the tests of a module, each of which takes a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import required


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(required("system"), quick=True) as found:
        yield found
